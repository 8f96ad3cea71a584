"""`rotate_keys`: all stored secrets under the newest key, while the hub runs."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.conf import settings

from mcphub.accounts import acts
from mcphub.core.command import Exit, HubCommand
from mcphub.core.rotation import Rotation, rotate


class Command(HubCommand):
    help = (
        "Encrypt all stored secrets under the newest key of MCPHUB_ENCRYPTION_KEYS and say what still needs an "
        "older one. Every process must know the new key already. Exit code 1 when something could not be opened."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        done = rotate()
        if any(done.moved.values()):
            after = {"newest": done.newest, **{name: count for name, count in done.moved.items() if count}}
            acts.record(acts.COMMAND_LINE, None, "keys.rotate", done.newest, after=after)
        self.say({**asdict(done), "droppable": done.droppable, "wait_s": _longest_s()}, "\n".join(_lines(done)))
        if done.stuck:
            raise SystemExit(Exit.FAILED)


def _lines(done: Rotation) -> Iterator[str]:
    yield f"Newest key {done.newest}: {sum(done.moved.values())} rows moved to it."
    for name, rows in done.stuck.items():
        yield f"Cannot be opened, and stays as it is: {name} {', '.join(rows)}"
    for use in done.uses:
        count = f"{use.count} " if use.count else ""
        yield f"Key {use.key_id} is needed by {count}{use.what}, until {use.until}."
    if done.droppable:
        yield (
            f"May be dropped from the ring: {', '.join(done.droppable)}. Sessions and links that clients hold open "
            f"under them for {_longest_s() / 60:.0f} minutes more at most without use."
        )


def _longest_s() -> float:
    limits = settings.HUB.limits
    return max(limits.session_idle_s, limits.link_s)
