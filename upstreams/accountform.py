"""What can be known wrong of how an upstream's accounts are set up, before it is saved."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from upstreams.credentials.presented import SLOT
from upstreams.models import CredentialKind, CredentialMode, SharingChoice, TransportChoice
from upstreams.transports.headers import NOT_FORWARDED
from upstreams.transports.origin import TOKEN, VALUE

NAME: Final = re.compile(r"\A[A-Za-z_][A-Za-z0-9_]*\Z")
OTHERS_TOO: Final = "A connection for everybody cannot carry each person's own account."


def account_faults(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(field, what is wrong with it) of the columns of `Upstream` that say whose account calls run under."""
    if fields.get("credential_mode") == CredentialMode.NONE:
        return
    if fields.get("credential_mode") == CredentialMode.PER_USER and fields.get("sharing") == SharingChoice.SHARED:
        yield "sharing", OTHERS_TOO
    stdio = fields.get("transport") == TransportChoice.STDIO
    if fields.get("credential_kind") == CredentialKind.OAUTH:
        if stdio:
            yield "credential_kind", "A command is given a key: there is no server to sign in to."
        return
    yield from _slot_faults(fields.get("key_header") or "", fields.get("key_format") or "", stdio)


def _slot_faults(header: str, text: str, stdio: bool) -> Iterator[tuple[str, str]]:
    if stdio and not NAME.match(header):
        yield "key_header", "A variable's name is letters, digits and underscores."
    elif not stdio and (not TOKEN.match(header) or header.lower() in NOT_FORWARDED):
        yield "key_header", "That is not a header that can be set."
    if text.count(SLOT) != 1 or not VALUE.match(text):
        yield "key_format", "It needs {key} once, in plain characters."
