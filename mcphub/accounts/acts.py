"""Who changes something, and the record of what they changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db import models

from audit.services import record_act
from mcphub.accounts.models import Org, User
from mcphub.core.fields import EncryptedTextField
from mcphub.core.keyring import KeyringError, keyring
from mcphub.core.principal import OrgRef, Principal

SECRET_NAMES: Final = frozenset({"password", "digest"})
MARK: Final = "secret-mark"
NOISE: Final = frozenset(
    {"created_at", "config_version", "credentials_version", "last_used_at", "last_used_from", "last_login"}
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a person, or the command line (`user_id` None), and from which address.

    `proven` is the principal of the credential that it came with, when it was no browser's session.
    """

    label: str
    user_id: str | None = None
    source: str = ""
    proven: Principal | None = None

    def principal(self, org: OrgRef) -> Principal | str:
        """The actor as the record names it."""
        if self.proven is not None:
            return self.proven
        if self.user_id is None:
            return self.label
        return Principal(
            id=f"user:{self.user_id}",
            kind="person",
            label=self.label,
            org=org,
            roles=frozenset(),
            user_id=self.user_id,
        )


COMMAND_LINE: Final = Actor("command line")


def person(user: User, source: str = "") -> Actor:
    """The actor for a signed-in person."""
    return Actor(user.email, str(user.pk), source)


def record(
    actor: Actor,
    org: Org | None,
    action: str,
    target: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Put an act on record, in the transaction that makes it.

    `action` is `<thing>.<verb>`; `before` and `after` hold the changed values as JSON types. Without an org the
    act belongs to the installation.
    """
    place = OrgRef(str(org.pk), org.slug) if org else OrgRef("", "")
    record_act(
        org_id=place.id,
        org=place.slug,
        principal=actor.principal(place),
        action=action,
        target=target,
        before=before,
        after=after,
        source=actor.source,
    )


def facts(row: models.Model) -> dict[str, Any]:
    """The values of a row as JSON types; a secret as a mark that shows whether it was replaced, and nothing else."""
    return {
        item.name: _fact(item, row)
        for item in row._meta.concrete_fields
        if not item.primary_key and item.name not in NOISE
    }


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Only what differs, from both sides."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return (
        {name: before[name] for name in names if name in before},
        {name: after[name] for name in names if name in after},
    )


def _fact(item: "models.Field[Any, Any]", row: models.Model) -> Any:
    if isinstance(item, EncryptedTextField):
        return _mark(item, row)
    if item.name in SECRET_NAMES:
        return "set" if item.value_from_object(row) else "empty"
    value = item.value_from_object(row)
    return value if isinstance(value, bool | int | str | list | dict | None) else str(value)


def _mark(item: EncryptedTextField, row: models.Model) -> str:
    try:
        plain = item.value_from_object(row)
    except KeyringError:
        return "unreadable"
    return f"set ({keyring().mac(MARK, item.dump(plain)).hex()[:8]})" if plain else "empty"
