"""Mail over real SMTP, and what its setting may say."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcphub.core import mail
from mcphub.core.mailserver import django_settings, mail_server
from tests.harness.mail import mail_box
from tests.harness.processes import free_port
from tests.ops.tls import self_signed

INVITATION = {
    "by": "ann@example.org",
    "email": "bob@example.org",
    "org": "North\r\nBcc: everybody@example.org",
    "hub": "https://hub.example",
    "link": "https://hub.example/join/north/abc/?a=1&b=2",
}


@pytest.fixture
def use(settings: Any) -> Callable[[str], None]:
    def with_url(url: str) -> None:
        settings.HUB = settings.HUB.model_copy(update={"email_url": url})
        for name, value in django_settings(url, "https://hub.example", 5).items():
            setattr(settings, name, value)

    return with_url


def test_a_mail_arrives_as_text_and_its_subject_is_one_line(use: Callable[[str], None]) -> None:
    with mail_box() as box:
        use(f"smtp://127.0.0.1:{box.port}")
        assert mail.send("invitation", "bob@example.org", INVITATION) is mail.Sent.YES
    (found,) = box.mails
    assert (found["to"], found["from"]) == ("bob@example.org", "mcphub@hub.example")
    assert found["bcc"] is None
    assert "Bcc: everybody" in found["subject"]
    assert "https://hub.example/join/north/abc/?a=1&b=2" in found.get_content()
    assert found.get_content_type() == "text/plain"


def test_user_and_password_travel_only_encrypted_and_to_a_server_that_proves_its_name(
    use: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with mail_box(context, ("hub", "p@ss word")) as box:
        use(f"smtp://hub:p%40ss%20word@127.0.0.1:{box.port}?tls=start&from=hub@example.org")
        assert mail.send("invitation", "bob@example.org", INVITATION) is mail.Sent.FAILED
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert mail.send("invitation", "bob@example.org", INVITATION) is mail.Sent.YES
    assert box.encrypted == [True]


def test_what_the_server_does_raises_nothing(use: Callable[[str], None]) -> None:
    assert mail.send("invitation", "bob@example.org", INVITATION) is mail.Sent.OFF
    use(f"smtp://127.0.0.1:{free_port()}")
    assert mail.send("invitation", "bob@example.org", INVITATION) is mail.Sent.FAILED
    with mail_box() as box:
        box.refuse = True
        use(f"smtp://127.0.0.1:{box.port}")
        assert mail.send("invitation", "bob@example.org", INVITATION) is mail.Sent.FAILED
    assert not box.mails


@pytest.mark.parametrize(
    ("url", "port", "tls"),
    [
        ("smtp://mail.example.org", 587, "start"),
        ("smtp://mail.example.org:25?tls=none", 25, "none"),
        ("smtps://mail.example.org", 465, "full"),
        ("smtp://127.0.0.1:1025", 1025, "none"),
    ],
)
def test_what_leaves_the_machine_is_encrypted_unless_said_otherwise(url: str, port: int, tls: str) -> None:
    found = mail_server(url)
    assert (found.port, found.tls) == (port, tls)


@pytest.mark.parametrize(
    "url", ["mail.example.org", "http://h", "smtp://", "smtp://h?form=x", "smtp://h?tls=maybe", "smtp://u:s3cret@h:x"]
)
def test_a_bad_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError) as fault:
        mail_server(url)
    assert "s3cret" not in str(fault.value)
