"""What others may do to upstreams. Everything blocks on the database: call it in a thread from the loop."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from mcphub.accounts.acts import Actor
from mcphub.core.clock import now
from mcphub.core.keyring import KeyringError
from upstreams import acts
from upstreams.applying import ImportRefused, SyncReport, apply_import, sync_file
from upstreams.catalogue import StoreReport, forget_holder, reclassify, store_catalogue
from upstreams.importing import ImportPlan, plan_import
from upstreams.models import Definition, Upstream, UpstreamState
from upstreams.secretfiles import telling_parts, unpacked
from upstreams.types import ServerFacts

__all__ = [
    "ImportPlan",
    "ImportRefused",
    "StoreReport",
    "SyncReport",
    "apply_import",
    "forget_holder",
    "mark_refresh_due",
    "mark_restart_due",
    "plan_import",
    "reclassify",
    "record_state",
    "set_definitions_enabled",
    "set_enabled",
    "store_catalogue",
    "sync_file",
    "take_refresh",
    "take_restart",
]

ERROR_CHARS: Final = 2_000
INSTRUCTIONS_CHARS: Final = 64 * 1024
SECRET_CHARS: Final = 6
MASK: Final = "•••"


def record_state(
    upstream_id: Any,
    state: str,
    *,
    facts: ServerFacts | None = None,
    error: str = "",
    stderr_tail: str | None = None,
    worker: str = "",
) -> None:
    """Keep how an upstream is; `state` is one of `UpstreamState.State`.

    `error` (a sentence) is kept with its time until the next one; `stderr_tail` replaces the one kept. Stored
    secrets of the upstream that appear in either are masked. Nothing happens when the upstream is gone.
    """
    moment = now()
    rows = UpstreamState.objects.filter(pk=upstream_id)
    changes: dict[str, Any] = {}
    if worker:
        changes["worker"] = worker[:80]
    if state == UpstreamState.State.UP:
        changes["last_ok_at"] = moment
    if error or stderr_tail:
        secrets = _secrets(upstream_id)
        if error:
            changes |= {"last_error": _clean(error, secrets)[:ERROR_CHARS], "last_error_at": moment}
        if stderr_tail is not None:
            changes["stderr_tail"] = _clean(stderr_tail, secrets)[-settings.HUB.limits.stderr_bytes :]
    elif stderr_tail is not None:
        changes["stderr_tail"] = ""
    if facts is not None:
        changes |= _facts(facts)
    rows.exclude(state=state).update(state=state, since=moment)
    if changes:
        rows.update(**changes)


def _facts(facts: ServerFacts) -> dict[str, Any]:
    return {
        "era": "both" if facts.both else facts.era,
        "protocol": facts.revision[:12],
        "capabilities": _storable(facts.capabilities),
        "server_info": _storable(facts.info),
        "instructions": _text(facts.instructions)[:INSTRUCTIONS_CHARS],
        "sessionless": facts.sessionless,
    }


def _storable(value: Any) -> Any:
    """JSON as every database takes it: text without NUL and lone surrogates."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {_text(name): _storable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(inner) for inner in value]
    return value


def _text(value: str) -> str:
    return value.replace("\0", "").encode("utf-8", "replace").decode()


def _secrets(upstream_id: Any) -> Collection[str]:
    """What must not be shown of this upstream's configuration, longest first."""
    row = Upstream.objects.filter(pk=upstream_id).first()
    if row is None:
        return ()
    try:
        values = [*row.env.values(), *row.headers.values(), *row.variables.values(), *row.oauth.values()]
        files = unpacked(row.files)
    except KeyringError:
        return ()
    parts = {part for value in values if isinstance(value, str) for part in (value, *value.split())}
    parts |= {part for file in files.values() for part in telling_parts(file.content)}
    return sorted((part for part in parts if len(part) >= SECRET_CHARS), key=len, reverse=True)


def _clean(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
    return _text(text)


def mark_refresh_due(upstream_ids: Iterable[Any]) -> int:
    """Ask the owner workers to list these upstreams again; how many there are."""
    return UpstreamState.objects.filter(pk__in=list(upstream_ids)).update(refresh_due_at=now())


def mark_restart_due(upstream_ids: Iterable[Any]) -> int:
    """Ask the owner workers to end these upstreams' connections and make them anew; how many there are."""
    return UpstreamState.objects.filter(pk__in=list(upstream_ids)).update(restart_due_at=now())


def take_refresh(upstream_id: Any, asked_at: datetime) -> bool:
    """Take the work of one request to refresh; false when another worker has it or it was renewed."""
    return bool(UpstreamState.objects.filter(pk=upstream_id, refresh_due_at=asked_at).update(refresh_due_at=None))


def take_restart(upstream_id: Any, asked_at: datetime) -> bool:
    """Take the work of one request to restart; false when another worker has it or it was renewed."""
    return bool(UpstreamState.objects.filter(pk=upstream_id, restart_due_at=asked_at).update(restart_due_at=None))


def set_enabled(rows: QuerySet[Upstream], on: bool, *, by: Actor) -> list[str]:
    """Switch upstreams on or off, each on record; the slugs of those that were the other way."""
    with transaction.atomic():
        found = Upstream.objects.filter(pk__in=list(rows.values_list("pk", flat=True))).exclude(enabled=on)
        changed = list(found.select_related("org").select_for_update(of=("self",)))
        for row in changed:
            before = acts.facts_of(row)
            row.enabled = on
            row.save(update_fields=["enabled", "updated_at"])
            acts.record_change(by, row, before)
    return [row.slug for row in changed]


def set_definitions_enabled(rows: QuerySet[Definition], on: bool, *, by: Actor) -> list[str]:
    """Switch definitions on or off, each on record; the names of those that were the other way."""
    with transaction.atomic():
        found = Definition.objects.filter(pk__in=rows.values("pk")).exclude(enabled=on)
        changed = list(found.select_related("upstream__org"))
        Definition.objects.filter(pk__in=[row.pk for row in changed]).update(enabled=on)
        for row in changed:
            before = acts.facts_of(row)
            row.enabled = on
            acts.record_change(by, row, before)
    return [row.name for row in changed]
