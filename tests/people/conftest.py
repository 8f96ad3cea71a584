"""The people and orgs of `tests/accounts`, and browsers for them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from mcphub.accounts.models import User
from mcphub.core.mailserver import django_settings
from tests.accounts.conftest import org, other, people, quick_hashes
from tests.harness.mail import mail_box

__all__ = ["org", "other", "people", "quick_hashes"]


@pytest.fixture
def hub(settings: Any) -> Callable[..., None]:
    """Change settings of the hub for one test."""

    def use(**values: Any) -> None:
        settings.HUB = settings.HUB.model_copy(update=values)

    return use


@pytest.fixture
def cloud(hub: Callable[..., None]) -> None:
    hub(mode="cloud", sign_in=("password",))


def browser(user: User | None = None, **more: Any) -> Client:
    """A browser, signed in as `user` if there is one."""
    client = Client(**more)
    if user is not None:
        client.force_login(user)
    return client


@pytest.fixture
def mails(settings: Any) -> Any:
    with mail_box() as box:
        settings.HUB = settings.HUB.model_copy(update={"email_url": f"smtp://127.0.0.1:{box.port}"})
        for name, value in django_settings(settings.HUB.email_url, "", 5).items():
            setattr(settings, name, value)
        yield box
