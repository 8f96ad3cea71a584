"""What went wrong on the way through a provider: one sentence for the person, the whole cause for the record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from social_core.exceptions import SocialAuthBaseException

from mcphub.accounts.social import entering
from mcphub.accounts.social.entering import NotLetIn


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the page says: a heading, what to do next, the HTTP status."""

    title: str
    text: str
    status: int = 400


AGAIN: Final = "Start again from the sign-in page."
OPERATOR: Final = "Tell whoever runs this hub: the record of sign-ins has the cause."

NOT_MEMBER: Final = Explanation(
    "You are not a member yet",
    "{provider} told us who you are, but nobody has invited that address here. Ask an owner of your org for an "
    "invitation, then sign in again with the same account.",
    403,
)
NOT_LET_IN: Final[Mapping[str, Explanation]] = {
    entering.STRANGER: NOT_MEMBER,
    entering.NO_EMAIL: Explanation(
        "{provider} did not say your e-mail address",
        "Add an address to your account there, or allow it to be shared, and sign in again.",
        403,
    ),
    entering.UNVERIFIED: Explanation(
        "Your e-mail address is not verified",
        "Confirm it at {provider}, then sign in again: an address that nobody has checked opens no account here.",
        403,
    ),
    entering.DISABLED: Explanation(
        "Your account here is disabled", "Ask an owner of your org, or whoever runs this hub, to enable it.", 403
    ),
}
DOWN: Final = Explanation("{provider} does not answer", "Try again in some minutes, or sign in another way.", 502)
UNTRUSTED: Final = Explanation("{provider}'s answer cannot be trusted", OPERATOR, 502)
MISCONFIGURED: Final = Explanation("Sign-in with {provider} is not set up correctly", OPERATOR, 502)
STALE: Final = Explanation(
    "This sign-in has ended", f"It was used already, took too long or began elsewhere. {AGAIN}"
)
DECLINED: Final = Explanation("You did not sign in", f"{{provider}} says that it was cancelled. {AGAIN}")
REFUSED: Final = Explanation("{provider} did not let you in", f"{AGAIN} If it happens again: {OPERATOR}")

BY_CODE: Final[Mapping[str, Explanation]] = {
    **dict.fromkeys(("timeout", "connection_failed", "unavailable", "tls_error", "rate_limited"), DOWN),
    **dict.fromkeys(("state_mismatch", "session_context_missing", "missing_parameter"), STALE),
    **dict.fromkeys(("nonce_mismatch", "authorization_code_rejected", "response_expired"), STALE),
    "authorization_declined": DECLINED,
    "invalid_setting": MISCONFIGURED,
    "missing_setting": MISCONFIGURED,
    "client_authentication_failed": MISCONFIGURED,
}
BY_SOURCE: Final[Mapping[str, Explanation]] = {
    "configuration": MISCONFIGURED,
    "session": STALE,
    "request": STALE,
    "provider_response": UNTRUSTED,
}


def of_failure(failure: SocialAuthBaseException | NotLetIn, provider: str) -> Explanation:
    """What to tell the person."""
    if isinstance(failure, NotLetIn):
        found = NOT_LET_IN[failure.code]
    else:
        found = BY_CODE.get(failure.code) or BY_SOURCE.get(failure.source, REFUSED)
    return Explanation(found.title.format(provider=provider), found.text.format(provider=provider), found.status)


def cause_of(failure: SocialAuthBaseException | NotLetIn) -> str:
    """What to put on record; social-core's details name claims and addresses, never a token."""
    if isinstance(failure, NotLetIn):
        return failure.cause
    about = failure.claim or failure.parameter
    parts = [failure.code, f"at {failure.stage}", f"({about})" if about else "", failure.detail, str(failure)]
    return " ".join(filter(None, parts))[:400]
