"""What an address or host name says of itself."""

import ipaddress

LOCALHOST = "localhost"


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
