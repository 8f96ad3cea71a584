"""Issuers of tokens as admin and API change them."""

from collections.abc import Mapping
from typing import Any

from mcphub.accounts.acts import Actor
from mcphub.accounts.models import Issuer, Org
from mcphub.accounts.putting import put, remove


def put_issuer(org: Org, name: str, values: Mapping[str, Any], *, by: Actor) -> tuple[Issuer, bool]:
    """The issuer of this name, made or changed, and whether it is new. Raises `ValidationError`, `Refused`."""
    return put(Issuer, org, values, by=by, called=name, name=name)


def delete_issuer(row: Issuer, *, by: Actor) -> None:
    """Its tokens open nothing any more, in seconds, everywhere. Raises `Refused`."""
    remove(row, row.org, by=by, called=row.name)
