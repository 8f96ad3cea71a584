"""Turning the key ring: everything stored moves under the newest key, and what still needs an old one is named.

Sealed ids, cursors and links in the hands of clients keep opening under older keys and end by themselves.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from django.apps import apps

from mcphub.core.fields import encrypted_fields, reseal, sealed_key_ids
from mcphub.core.keyring import keyring

PASSES: Final = 5
"""How often a model is gone through while other processes may still write under an older key."""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """Something that needs the key `key_id`. `until` says in words when it will not any more.

    `opens` is false where the key only proves the past, so that nothing stops working without it.
    """

    what: str
    key_id: str
    count: int
    until: str
    opens: bool = True


@dataclass(frozen=True, slots=True)
class Rotation:
    """What was closed anew by model, which rows could not be opened, and what uses keys other than the newest."""

    newest: str
    moved: dict[str, int]
    stuck: dict[str, tuple[str, ...]]
    uses: tuple[KeyUse, ...]

    @property
    def droppable(self) -> tuple[str, ...]:
        """Ids of older keys of the ring that nothing stored opens with."""
        needed = {use.key_id for use in self.uses if use.opens}
        return tuple(key_id for key_id in keyring().key_ids if key_id not in {self.newest, *needed})


_reporters: list[Callable[[], Iterable[KeyUse]]] = []


def report_uses(reporter: Callable[[], Iterable[KeyUse]]) -> None:
    """Register what says which keys an app's rows need besides its encrypted fields (at start)."""
    if reporter not in _reporters:
        _reporters.append(reporter)


def rotate() -> Rotation:
    """Close all stored secrets under the newest key. Safe under load, and to run twice."""
    moved: dict[str, int] = {}
    stuck: dict[str, tuple[str, ...]] = {}
    for model in apps.get_models():
        if not encrypted_fields(model):
            continue
        name = model._meta.label_lower
        for _ in range(PASSES):
            done = reseal(model)
            moved[name] = moved.get(name, 0) + done.moved
            stuck[name] = done.stuck
            if not done.moved:
                break
    return Rotation(keyring().newest, moved, {name: rows for name, rows in stuck.items() if rows}, uses_of_old_keys())


def uses_of_old_keys() -> tuple[KeyUse, ...]:
    """Everything stored that needs another key than the newest."""
    newest = keyring().newest
    sealed = (
        KeyUse(f"secrets in {model._meta.db_table}", key_id, 0, "rotate_keys has moved them")
        for model in apps.get_models()
        if encrypted_fields(model)
        for key_id in sealed_key_ids(model)
    )
    reported = (use for reporter in _reporters for use in reporter())
    return tuple(use for use in (*sealed, *reported) if use.key_id != newest)
