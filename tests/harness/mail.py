"""A mail server of the tests' own: real SMTP on loopback, its mails in memory."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from typing import Any, Final

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.harness.processes import free_port


class MailBox:
    """What was handed in so far. `refuse` makes the server refuse recipients with 550."""

    def __init__(self) -> None:
        self.mails: Final[list[EmailMessage]] = []
        self.encrypted: Final[list[bool]] = []
        self.refuse = False
        self.port = 0

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refuse:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        mail: Message = message_from_bytes(envelope.content or b"", policy=default)  # type: ignore[arg-type]
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.encrypted.append(session.ssl is not None)
        return "250 OK"


@contextmanager
def mail_box(tls: ssl.SSLContext | None = None, login: tuple[str, str] | None = None) -> Iterator[MailBox]:
    """A running server; with `tls` it wants STARTTLS, with `login` this user and password too."""
    box = MailBox()

    def check(_server: Any, _session: Any, _envelope: Any, _mechanism: Any, data: LoginPassword) -> AuthResult:
        assert login is not None
        return AuthResult(success=(data.login.decode(), data.password.decode()) == login)

    box.port = free_port()
    options: dict[str, Any] = {"authenticator": check, "auth_required": True} if login else {}
    if tls:
        options |= {"tls_context": tls, "require_starttls": True}
    controller = Controller(box, hostname="127.0.0.1", port=box.port, **options)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
