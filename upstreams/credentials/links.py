"""Links to the page where one principal connects one upstream: sealed, bound to that principal, and ending.

They name no secret and open nothing by themselves: the page wants a sign-in, of that same person.
"""

import json
import time
from typing import Final

import msgspec
from django.conf import settings
from django.urls import reverse

from mcphub.accounts.links import absolute
from mcphub.core.keyring import KeyringError, keyring

PURPOSE: Final = "connect-link"


class ConnectLink(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a link is for. `scopes`, blanks between, are those that the upstream asked for; `until` since 1970."""

    upstream_id: str
    holder: str
    until: int
    scopes: str = ""


class LinkEnded(Exception):
    """The link is altered or too old."""


def connect_link(upstream_id: str, holder: str, scopes: str = "", valid_s: float | None = None) -> str:
    """The full URL where this holder connects; for as long as a question to a person may wait, or `valid_s`."""
    until = int(time.time() + (settings.HUB.limits.person_s if valid_s is None else valid_s))
    content = json.dumps(msgspec.to_builtins(ConnectLink(upstream_id, holder, until, scopes)))
    return absolute(reverse("connect-link", args=[keyring().seal(PURPOSE, content.encode())]))


def read(token: str) -> ConnectLink:
    """What the token of a link is for. Raises `LinkEnded`."""
    try:
        link = msgspec.convert(json.loads(keyring().open(PURPOSE, token)), ConnectLink)
    except (KeyringError, ValueError):
        raise LinkEnded from None
    if link.until < time.time():
        raise LinkEnded
    return link
