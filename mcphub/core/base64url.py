"""base64url without padding (RFC 7515, appendix C), one text for each value."""

import base64
import binascii


def encode(raw: bytes) -> str:
    """The text of `raw`, unpadded."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes that `encode` made `text` of.

    Raises ValueError for anything else, also for a second spelling of the same bytes, which the unused bits of the
    last character allow (RFC 4648, section 3.5).
    """
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if encode(raw) != text:
        raise binascii.Error("not the canonical text")
    return raw
