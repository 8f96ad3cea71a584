"""What must be there before the standalone hub serves: tables, the org `default`, a first key."""

from dataclasses import dataclass
from typing import Final

from django.core.management import call_command

from mcphub.accounts.models import ApiKey, Org
from mcphub.core import tokens

ORG: Final = "default"
KEY_NAME: Final = "first key"


@dataclass(frozen=True, slots=True)
class FirstKey:
    """The owner's key: `plain` is "" when it was made, and shown, at an earlier start."""

    plain: str = ""


def migrate() -> None:
    """Bring the tables to this code's state."""
    call_command("migrate", verbosity=0, interactive=False)


def first_key(literal: str) -> FirstKey:
    """Make org `default` and the owner's key where missing."""
    org, _ = Org.objects.get_or_create(slug=ORG, defaults={"name": "Default"})
    if ApiKey.objects.for_org(org).filter(name=KEY_NAME).exists():
        return FirstKey()
    key = tokens.for_literal(literal) if literal else tokens.mint()
    ApiKey.objects.create(
        org=org,
        name=KEY_NAME,
        public_id=key.public_id,
        digest=key.digest,
        digest_key_id=key.digest_key_id,
        roles=["owner"],
    )
    return FirstKey(key.plain)
