"""What a process makes sure of at its start, besides the settings: the database fits, no key is gone."""

from collections.abc import Iterator

from django.apps import apps
from django.db import DatabaseError, connection

from mcphub.core.fields import encrypted_fields, sealed_key_ids
from mcphub.core.keyring import keyring
from mcphub.core.schema import is_migrated


class CannotStart(Exception):
    """Sentences for the person at the terminal, one line each."""


def missing_keys() -> dict[str, list[str]]:
    """Ids of encryption keys that stored secrets need and the ring lacks, each with the tables that need it."""
    known = set(keyring().key_ids)
    missing: dict[str, list[str]] = {}
    for model in apps.get_models():
        if encrypted_fields(model):
            for key_id in sealed_key_ids(model) - known:
                missing.setdefault(key_id, []).append(model._meta.db_table)
    return missing


def check_keys() -> None:
    """Raises `CannotStart` that names every missing key: starting would leave secrets unreadable."""
    lines = list(_sentences(missing_keys()))
    if lines:
        raise CannotStart("\n".join(lines))


def _sentences(missing: dict[str, list[str]]) -> Iterator[str]:
    for key_id, tables in sorted(missing.items()):
        yield (
            f"The encryption key with id {key_id} is missing; secrets in {', '.join(sorted(tables))} need it. "
            "Put it back into MCPHUB_ENCRYPTION_KEYS, behind the newest one."
        )


def check_database() -> None:
    """Raises `CannotStart` when the database does not answer or has not the tables of this code."""
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        raise CannotStart(f"The database does not answer: {' '.join(str(error).split())}") from None
    if not is_migrated():
        raise CannotStart("The tables of the database are not those of this version. Run: migrate")
