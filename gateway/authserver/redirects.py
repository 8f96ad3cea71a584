"""Where an answer may be sent to: redirect URIs as clients register them. Pure."""

import re
from typing import Final
from urllib.parse import parse_qsl, urlsplit

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
CHARS: Final = 512
OURS: Final = frozenset({"code", "error", "error_description", "iss", "state"})
VISIBLE: Final = re.compile(r"\A[!-\[\]-~]+\Z")
"""ASCII without spaces, controls and the backslash, which browsers read as a slash."""

REFUSED_SCHEMES: Final = frozenset(
    {
        "about", "blob", "chrome", "chrome-extension", "content", "data", "file", "filesystem", "ftp", "gopher",
        "intent", "jar", "javascript", "ldap", "mailto", "mhtml", "moz-extension", "ms-its", "resource", "res",
        "sms", "ssh", "tel", "urn", "vbscript", "view-source", "wss", "ws", "wyciwyg",
    }
)  # fmt: skip
"""Schemes that a browser acts on itself, or that reach something else than an application of their own."""


def fault(uri: str) -> str:
    """Why nobody may register this redirect URI, or "".

    Allowed are https, http on this machine's loopback (RFC 8252 section 7.3), and the private schemes of native
    applications (section 7.1). Compared is the whole text later, except the port of a loopback address.
    """
    if len(uri) > CHARS:
        return f"is longer than {CHARS} characters"
    if not VISIBLE.match(uri):
        return "has characters that no URI has"
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "is no URI"
    if "#" in uri:
        return "has a fragment"
    if "@" in parts.netloc:
        return "has a user name in it"
    if "*" in parts.netloc or "%" in parts.netloc:
        return "has a wildcard in it"
    if any(part in (".", "..") for part in parts.path.split("/")):
        return "has dots for directories in it"
    if not OURS.isdisjoint(name for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        return "has a parameter of the answer in it"
    return _scheme_fault(parts.scheme, host, uri)


def _scheme_fault(scheme: str, host: str, uri: str) -> str:
    if not scheme or ":" not in uri:
        return "is not absolute"
    if scheme in REFUSED_SCHEMES:
        return f"has the scheme {scheme}"
    if scheme in ("http", "https"):
        if not host or not uri.lower().startswith(f"{scheme}://"):
            return "has no host"
        if scheme == "http" and host not in LOOPBACK:
            return "is http to another machine; use https"
    return ""


def host_of(uri: str) -> str:
    """What people recognise a redirect URI by: its host, or the private scheme of an application."""
    parts = urlsplit(uri)
    return (parts.hostname or "") if parts.scheme in ("http", "https") else f"{parts.scheme}:"


def is_claimed(uri: str) -> bool:
    """Whether one party owns it: https to a name, which no other program on this machine can answer for."""
    parts = urlsplit(uri)
    return parts.scheme == "https" and (parts.hostname or "") not in LOOPBACK
