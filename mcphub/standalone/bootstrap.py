"""What must be there before the standalone hub serves: tables, the org `default`, a first key."""

from typing import Final

from django.core.management import call_command

from mcphub.accounts import services
from mcphub.accounts.models import ApiKey, Org
from mcphub.accounts.roles import OWNER
from mcphub.core.schema import is_migrated

ORG: Final = "default"
KEY_NAME: Final = "first key"


def migrate() -> None:
    """Bring the tables to this code's state."""
    if not is_migrated():
        call_command("migrate", verbosity=0, interactive=False)


def default_org() -> Org:
    """The one org of a standalone hub, made at the first start."""
    return Org.objects.filter(slug=ORG).first() or services.create_org(ORG, "Default")


def first_key(org: Org, literal: str) -> str:
    """The owner's key in plain: the literal given, a new one at the first start, else "".

    A first key that was revoked is not made again.
    """
    if literal:
        services.ensure_literal_key(org, literal, KEY_NAME)
        return literal
    if ApiKey.objects.for_org(org).filter(name=KEY_NAME).exists():
        return ""
    return services.create_key(org, KEY_NAME, roles=[OWNER]).plain
