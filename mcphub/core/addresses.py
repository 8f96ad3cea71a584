"""What an address or host name says of itself."""

import ipaddress
from urllib.parse import urlsplit

LOCALHOST = "localhost"
NO_ISSUER = "is not the address of an issuer, such as https://login.example.org"


def parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `text` is, in brackets or not, a mapped one as what it stands for; None for a name."""
    try:
        found = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    return (isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped) or found


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine's own: 127.0.0.0/8, ::1 (also mapped) or the name `localhost`."""
    found = parsed(host)
    return host == LOCALHOST if found is None else found.is_loopback


def issuer_fault(issuer: str) -> str:
    """Why this cannot be an issuer, or "": https, except on this machine; no query, no fragment."""
    try:
        parts = urlsplit(issuer)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        host = None
    if host is None:
        return NO_ISSUER
    if parts.scheme not in ("https", "http") or parts.query or parts.fragment or parts.username:
        return NO_ISSUER
    if parts.scheme == "http" and not is_loopback(host):
        return "must begin with https://"
    return ""
