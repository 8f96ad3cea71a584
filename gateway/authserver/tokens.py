"""The text of tokens. An access token carries a MAC: a guess is told from an issued one without a query."""

import base64
import hmac
import re
import secrets
from typing import Any, Final

from mcphub.core.keyring import keyring

ACCESS: Final = "mcpt_"
REFRESH: Final = "mcpr_"
FORM: Final = re.compile(r"\Amcpt_([a-z2-7]{52})_([0-9a-f]{16})\Z")
PURPOSE: Final = "access-token"
BYTES: Final = 32


def access_token(request: Any, refresh_token: bool = False) -> str:
    """A new access token, 256 random bits."""
    body = _random()
    return f"{ACCESS}{body}_{_tag(body, keyring().newest)}"


def refresh_token(request: Any, refresh_token: bool = True) -> str:
    """A new refresh token, 256 random bits."""
    return REFRESH + _random()


def was_issued(text: str) -> bool:
    """Whether this hub made the access token at some time, in constant time for what has its form."""
    found = FORM.match(text)
    if found is None:
        return False
    body, tag = found.groups()
    return any(hmac.compare_digest(_tag(body, key_id), tag) for key_id in keyring().key_ids)


def _random() -> str:
    return base64.b32encode(secrets.token_bytes(BYTES)).decode().rstrip("=").lower()


def _tag(body: str, key_id: str) -> str:
    return keyring().mac(PURPOSE, body.encode(), key_id).hex()[:16]
