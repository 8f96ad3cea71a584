"""A person connects: from the press of a button to the authorization server, and from its answer to a credential."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import transaction

from mcphub.accounts.acts import Actor
from mcphub.accounts.models import User
from mcphub.core.clock import now
from mcphub.core.keyring import keyring
from upstreams.credentials import services
from upstreams.credentials.models import Credential, PendingAuthorization
from upstreams.models import Upstream
from upstreams.oauth import authorization, token_endpoint
from upstreams.oauth.clients import (
    as_it_is_now,
    bind,
    client_for,
    forget_registration,
    packed,
    registration_of,
    unpacked,
)
from upstreams.oauth.discovery import challenge_of, discover
from upstreams.oauth.errors import ClientRejected, PendingSpent, Refused
from upstreams.oauth.outgoing import outgoing
from upstreams.oauth.setup import Setup, setup_of
from upstreams.oauth.types import Answer, Challenge, Client, Protected, Tokens

STATE: Final = "oauth-state"
BROWSER: Final = "oauth-browser"
STEP_UP_S: Final = 3600
MOST_PENDING: Final = 20


class IssuerMoved(Refused):
    """The upstream names another authorization server than the one that this holder was connected through."""

    def __init__(self, before: str, issuer: str) -> None:
        super().__init__(f"This upstream used to sign in at {before}; now it names {issuer}.")
        self.before = before
        self.issuer = issuer


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks for. `holder` is "" for the shared slot; `issuer` a changed server that they agreed to."""

    holder: str
    scopes: tuple[str, ...] = ()
    back_to: str = ""
    issuer: str = ""
    take_over: bool = False


def begin(row: Upstream, person: User, browser: str, wish: Wish, redirect_uri: str) -> str:
    """The URL of the authorization server to send the browser to; everything to check its answer is stored before.

    `browser` is the secret of a cookie. Raises `OAuthFault`; `IssuerMoved` wants the person's word first.
    """
    setup = setup_of(row)
    held = Credential.objects.filter(upstream=row, holder=wish.holder).first()
    step_ups = _step_ups(held, wish)
    granted = tuple(held.scopes) if held is not None and step_ups else ()
    challenge, protected = async_to_sync(_look)(setup, wish.scopes)
    issuer = protected.server.issuer
    if held is not None and held.issuer not in ("", issuer, wish.issuer) and wish.issuer != issuer:
        raise IssuerMoved(held.issuer, issuer)
    client = client_for(row, setup, protected.server, redirect_uri)
    scopes = authorization.scopes_for(protected, challenge, setup.scopes, granted)
    question = authorization.ask(
        protected.server, client, redirect_uri=redirect_uri, resource=protected.resource, scopes=scopes
    )
    _make_room(person)
    pending = PendingAuthorization(
        upstream=row,
        holder=wish.holder,
        user=person,
        state_hash=_hash(STATE, question.state),
        browser_hash=_hash(BROWSER, browser),
        issuer=issuer,
        resource=protected.resource,
        scopes=list(scopes),
        registration=registration_of(row, client),
        redirect_uri=redirect_uri,
        back_to=wish.back_to,
        expires_at=now() + timedelta(seconds=settings.HUB.limits.authorization_s),
    )
    pending.secret = {
        "verifier": question.verifier,
        "client": packed(client),
        "token_endpoint": protected.server.token_endpoint,
        "revocation_endpoint": protected.server.revocation_endpoint,
        "names_itself": protected.server.names_itself,
        "step_ups": step_ups,
        "take_over": wish.take_over,
    }
    pending.save()
    return question.url


def _step_ups(held: Credential | None, wish: Wish) -> int:
    """How many times in a row more rights were asked for, this time included. Raises `Refused` beyond the limit."""
    if not wish.scopes or held is None or held.secret is None:
        return 0
    if set(wish.scopes) <= set(held.scopes):
        raise Refused(
            f"The upstream wants {' '.join(wish.scopes)}, which was granted already. Signing in again will not help: "
            "ask those who run it."
        )
    recent = held.obtained_at is not None and now() - held.obtained_at < timedelta(seconds=STEP_UP_S)
    count = int(held.secret.get("step_ups", 0)) + 1 if recent else 1
    if count > settings.HUB.limits.step_ups:
        raise Refused(
            "The upstream asks for more rights again and again. Try again in an hour, or ask those who run it."
        )
    return count


async def _look(setup: Setup, scopes: tuple[str, ...]) -> tuple[Challenge, Protected]:
    async with outgoing(setup.allow) as out:
        found = await challenge_of(out, setup.url, setup.headers)
        challenge = Challenge(" ".join(scopes) or found.scope, found.metadata_url, found.error)
        return challenge, await discover(out, setup.url, challenge, setup.issuers)


def _make_room(person: User) -> None:
    """Sign-ins that ended, or of which there are too many, are forgotten."""
    PendingAuthorization.objects.filter(expires_at__lte=now()).delete()
    own = PendingAuthorization.objects.filter(user=person).order_by("-created_at").values_list("pk", flat=True)
    PendingAuthorization.objects.filter(pk__in=list(own[MOST_PENDING - 1 :])).delete()


@dataclass(frozen=True, slots=True)
class Completed:
    """What became of it: the credential, and where the person wanted to go."""

    credential: Credential
    back_to: str


def complete(answer: Answer, person: User, browser: str, by: Actor) -> Completed:
    """Turn the authorization server's answer into a credential. Raises `OAuthFault`, and `services.Occupied`.

    An answer can be used once, by the person and in the browser that began. What it says is believed, and shown, only
    after it is known to come from the server that was asked.
    """
    pending = _take(answer.state)
    if pending.user_id != person.pk or pending.browser_hash not in _hashes(BROWSER, browser):
        raise PendingSpent("This sign-in was begun by somebody else or in another browser. Begin again here.")
    kept: dict[str, Any] = pending.secret
    authorization.check_issuer(answer, pending.issuer, promised=kept["names_itself"])
    if answer.error or not answer.code:
        raise Refused(_declined(answer))
    client = as_it_is_now(pending.upstream, unpacked(kept["client"]), pending.registration)
    try:
        tokens = async_to_sync(_exchange)(pending, client, answer.code)
    except ClientRejected:
        forget_registration(pending.upstream, pending.issuer, client.id)
        raise
    return Completed(_keep(pending, client, tokens, by), pending.back_to)


def _take(state: str) -> PendingAuthorization:
    """The pending row of this state, gone from the table."""
    with transaction.atomic():
        rows = PendingAuthorization.objects.select_for_update(of=("self",)).select_related(
            "upstream__org", "registration"
        )
        pending = rows.filter(state_hash__in=_hashes(STATE, state)).first() if state else None
        if pending is not None:
            PendingAuthorization.objects.filter(pk=pending.pk).delete()
    if pending is None or pending.expires_at <= now():
        raise PendingSpent("This sign-in is over: it was used already, or it took too long. Begin again.")
    return pending


async def _exchange(pending: PendingAuthorization, client: Client, code: str) -> Tokens:
    async with outgoing(pending.upstream.egress_allow) as out:
        return await token_endpoint.exchange(
            out,
            pending.secret["token_endpoint"],
            client,
            code=code,
            verifier=pending.secret["verifier"],
            redirect_uri=pending.redirect_uri,
            resource=pending.resource,
        )


def _keep(pending: PendingAuthorization, client: Client, tokens: Tokens, by: Actor) -> Credential:
    kept = pending.secret
    with transaction.atomic():
        return services.store(
            pending.upstream,
            pending.holder,
            {
                "access_token": tokens.access,
                "refresh_token": tokens.refresh,
                "token_endpoint": kept["token_endpoint"],
                "revocation_endpoint": kept["revocation_endpoint"],
                "client": packed(client),
                "step_ups": kept["step_ups"],
            },
            by=by,
            take_over=kept["take_over"],
            issuer=pending.issuer,
            resource=pending.resource,
            scopes=tokens.scope.split() or list(pending.scopes),
            expires_at=tokens.expires_at,
            registration=bind(pending.upstream, client),
        )


def _declined(answer: Answer) -> str:
    """Codes are a closed alphabet (RFC 6749, 4.1.2.1); descriptions are the server's own prose and stay out."""
    code = answer.error if answer.error.replace("_", "").isalnum() and answer.error.isascii() else ""
    if code == "access_denied":
        return "You declined, so nothing was connected."
    return f"The authorization server declined ({code[:60]})." if code else "The authorization server declined."


def _hash(purpose: str, text: str) -> str:
    return keyring().mac(purpose, text.encode(errors="surrogatepass")).hex()


def _hashes(purpose: str, text: str) -> list[str]:
    """Under every key of the ring: it may have turned while the person was away."""
    raw = text.encode(errors="surrogatepass")
    return [keyring().mac(purpose, raw, key_id).hex() for key_id in keyring().key_ids]
