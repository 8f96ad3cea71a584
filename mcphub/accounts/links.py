"""One-time links: a sealed token that names its purpose, ends after `link_s` and dies with its first use.

Nothing is stored: a set-password link is bound to the person's present password hash, and a set-up link
works only as long as org `default` has no owner.
"""

import struct
import time
import uuid
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse

from mcphub.accounts.models import Membership, User
from mcphub.accounts.roles import OWNER
from mcphub.core.keyring import KeyringError, keyring

PURPOSE: Final = "one-time-link"
FIRST_ORG: Final = "default"
CONTENT: Final = struct.Struct("!I16s8s?")
"""Seconds since 1970 at which the link ends, the person's id (zero for a set-up link), what it is bound to, whether
it went to the person's own address."""

NOBODY: Final = uuid.UUID(int=0)


class LinkSpent(Exception):
    """The link is altered, too old or was used before."""


@dataclass(frozen=True, slots=True)
class OneTimeLink:
    """What a link allows: the person sets a password, or (`user` None) the first owner is made.

    `mailed`: whoever opens it reads the mail of the person's address.
    """

    kind: Literal["password", "setup"]
    user: User | None
    mailed: bool = False


def password_link(user: User, *, mailed: bool = False) -> str:
    """The full URL with which `user` sets a password."""
    return _url(user.pk, _state(user), mailed=mailed)


def setup_link() -> str:
    """The full URL with which the first person becomes owner of org `default`."""
    return _url(NOBODY, bytes(8))


def read(token: str) -> OneTimeLink:
    """What the token of a link allows now. Raises `LinkSpent`."""
    try:
        until, user_id, state, mailed = CONTENT.unpack(keyring().open(PURPOSE, token))
    except KeyringError:
        raise LinkSpent from None
    if until < time.time():
        raise LinkSpent
    if user_id == NOBODY.bytes:
        if has_owner(FIRST_ORG):
            raise LinkSpent
        return OneTimeLink("setup", None)
    user = User.objects.filter(pk=uuid.UUID(bytes=user_id), is_active=True).first()
    if user is None or _state(user) != state:
        raise LinkSpent
    return OneTimeLink("password", user, mailed)


def has_owner(slug: str) -> bool:
    """Whether some active person owns the org."""
    members = Membership.objects.filter(org__slug=slug, user__is_active=True)
    return any(OWNER in roles for roles in members.values_list("roles", flat=True))


def absolute(path: str) -> str:
    """`path` with the hub's public origin."""
    public = urlsplit(settings.HUB.server_url)
    if public.netloc:
        return f"{public.scheme}://{public.netloc}{path}"
    scheme = "https" if settings.START.tls else "http"
    return f"{scheme}://{settings.HUB.host}:{settings.HUB.port}{path}"


def home() -> str:
    """The hub's public address without a slash at the end; the issuer of its tokens."""
    return absolute(settings.START.script_name)


def _url(user_id: uuid.UUID, state: bytes, *, mailed: bool = False) -> str:
    content = CONTENT.pack(int(time.time() + settings.HUB.limits.link_s), user_id.bytes, state, mailed)
    return absolute(reverse("one-time-link", args=[keyring().seal(PURPOSE, content)]))


def _state(user: User) -> bytes:
    return keyring().mac(PURPOSE, user.password.encode())[:8]
