"""Operators' acts on upstreams, on record with what changed and no secret."""

from collections.abc import Mapping
from typing import Any, Final

from mcphub.accounts import acts
from mcphub.accounts.acts import Actor
from mcphub.core.keyring import KeyringError, keyring
from upstreams.models import Definition, Upstream

Facts = Mapping[str, Any]

SECRETS: Final = ("env", "headers", "variables", "files", "oauth")
NOISE: Final = frozenset({"updated_at", "revision", "current"})


def facts_of(row: Upstream | Definition) -> dict[str, Any]:
    """The row's values for the record. Of secrets the names, each with a mark that shows a change and no more."""
    known = {name: value for name, value in acts.facts(row).items() if name not in NOISE}
    if isinstance(row, Upstream):
        known |= {name: _marks(row, name) for name in SECRETS}
    return known


def _marks(row: Upstream, name: str) -> Any:
    try:
        pairs: Mapping[str, Any] = getattr(row, name) or {}
    except KeyringError:
        return "cannot be opened"
    return {key: f"set ({keyring().mac('act', str(value).encode()).hex()[:8]})" for key, value in pairs.items()}


def record_change(by: Actor, row: Upstream | Definition, before: Mapping[str, Any]) -> None:
    """Put on record how the row differs from `before` (its earlier `facts_of`); nothing when it does not."""
    old, new = acts.changed(before, facts_of(row))
    if old or new:
        _record(by, row, "change", old, new)


def record_created(by: Actor, row: Upstream) -> None:
    """Put a new row on record."""
    _record(by, row, "create", None, facts_of(row))


def record_deleted(by: Actor, row: Upstream) -> None:
    """Put on record that the row is about to be deleted."""
    _record(by, row, "delete", facts_of(row), None)


def record_asked(by: Actor, row: Upstream, action: str) -> None:
    """Put on record that somebody asked for an action that changes no row ("refresh", "restart")."""
    _record(by, row, action, None, None)


def _record(
    by: Actor,
    row: Upstream | Definition,
    verb: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> None:
    if isinstance(row, Definition):
        upstream = row.upstream
        acts.record(by, upstream.org, f"definition.{verb}", f"{upstream.slug}/{row.kind}/{row.name}", before, after)
    else:
        acts.record(by, row.org, f"upstream.{verb}", row.slug, before, after)
