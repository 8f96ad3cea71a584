"""Where mail is handed in: `MCPHUB_EMAIL_URL` as Django's settings."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from mcphub.core.addresses import is_loopback

FORMS: Final = "smtp://user:password@host:587?from=hub@example.org, or smtps:// for TLS from the first byte"
PORTS: Final = {"smtp": 587, "smtps": 465}
CLEAR: Final = "none"


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in. `tls` is `start` (STARTTLS, which must succeed), `full` or `none`."""

    host: str
    port: int
    user: str
    password: str
    tls: str
    sender: str

    def __repr__(self) -> str:
        return f"<MailServer {self.host}:{self.port}>"


def mail_server(url: str, own_host: str = "") -> MailServer:
    """What the URL says. Raises `ValueError`, without the value: a password may be in it.

    Mail leaves encrypted unless the server is on this machine or the URL says `?tls=none`.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if parts.scheme not in PORTS or not parts.hostname or set(options) - {"from", "tls"}:
        raise ValueError(f"must have the form {FORMS}")
    full = parts.scheme == "smtps"
    tls = "full" if full else options.get("tls", CLEAR if is_loopback(parts.hostname) else "start")
    if tls not in ("full", "start", CLEAR):
        raise ValueError("tls is start or none")
    sender = options.get("from") or f"mcphub@{own_host or 'localhost'}"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return MailServer(parts.hostname, parts.port or PORTS[parts.scheme], user, password, tls, sender)


def django_settings(url: str, server_url: str, timeout_s: float) -> dict[str, Any]:
    """Django's `EMAIL_…` settings for `MCPHUB_EMAIL_URL`; without one, mail goes nowhere."""
    if not url:
        return {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}
    server = mail_server(url, urlsplit(server_url).hostname or "")
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": server.host,
        "EMAIL_PORT": server.port,
        "EMAIL_HOST_USER": server.user,
        "EMAIL_HOST_PASSWORD": server.password,
        "EMAIL_USE_TLS": server.tls == "start",
        "EMAIL_USE_SSL": server.tls == "full",
        "EMAIL_TIMEOUT": timeout_s,
        "DEFAULT_FROM_EMAIL": server.sender,
    }
