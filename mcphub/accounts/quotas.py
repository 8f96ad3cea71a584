"""How much an org may use, as hub admins set it; services ask before they make one more."""

from typing import Any, Final, Literal

from mcphub.accounts.models import Installation, Org, OrgQuota

Kind = Literal["members", "upstreams"]
Limited = Literal["members", "upstreams", "calls"]
WORDS: Final = {"members": ("member", "members"), "upstreams": ("upstream", "upstreams")}


def installation() -> Installation:
    """What holds for the whole hub; the defaults as long as nobody changed anything."""
    return Installation.objects.filter(pk=Installation.ONLY).first() or Installation()


def limit(org_id: Any, kind: Limited) -> int | None:
    """How many the org may have, or calls a minute; None: no limit. Quotas of its own replace all of the hub's."""
    own = OrgQuota.objects.filter(pk=org_id).first()
    found: int | None = getattr(own or installation(), kind)
    return found


def fault(org: Org, kind: Kind, used: int, more: int = 1) -> str:
    """Why the org may not have so many more beside the `used` ones, or ""; call it under the org's lock."""
    most = limit(org.pk, kind)
    if most is None or used + more <= most:
        return ""
    one, many = WORDS[kind]
    return f"{org.slug} may have {most} {one if most == 1 else many} and has {used}. A hub admin can raise that."
