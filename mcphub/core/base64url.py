"""base64url without padding (RFC 7515, appendix C), one text for each value."""

from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode


def encode(raw: bytes) -> str:
    """The text of `raw`, unpadded."""
    return urlsafe_base64_encode(raw)


def decode(text: str) -> bytes:
    """The bytes that `encode` made `text` of.

    Raises ValueError for anything else, also for a second spelling of the same bytes, which the unused bits of the
    last character allow (RFC 4648, section 3.5).
    """
    raw = urlsafe_base64_decode(text)
    if encode(raw) != text:
        raise ValueError("not the canonical text")
    return raw
