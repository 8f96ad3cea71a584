"""What a hub holds when nothing goes on, and whether it holds no more after a fault."""

import json
import os
import re
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.harness.hub import ROOT, Hub
from tests.harness.processes import alive
from tests.harness.waiting import until

MEMORY_KB: Final = 32 * 1024
"""How much more memory than before may stay: what allocators keep for the next time (PROMISES, F06)."""

SETTLE_S: Final = 20
ALIKE: Final = 3
HELD: Final = re.compile(r"\A(socket|pipe|anon_inode|/dev/fuse)")


class WatchedHub(Hub):
    """A hub that tells which tasks and how much memory it holds (`tests.faults.watched_hub`)."""

    program = (sys.executable, str(ROOT / "tests" / "faults" / "watched_hub.py"))

    def __init__(self, folder: Path, *, key: str | None = "mcph-of-the-tests", **settings: str) -> None:
        super().__init__(folder, key=key, **settings)
        self._windows: Final = tempfile.TemporaryDirectory(prefix="watch-")
        self.environment["WATCH_DIR"] = self._windows.name

    def __exit__(self, *failure: object) -> None:
        super().__exit__(*failure)
        self._windows.cleanup()
        self._names.unlink(missing_ok=True)

    @property
    def _names(self) -> Path:
        return Path(f"{self._windows.name}.names")

    def resolve(self, **names: str) -> None:
        """From now on the hub finds these host names (underscores for dots) at these addresses."""
        text = json.dumps({name.replace("_", "."): address for name, address in names.items()})
        self._names.with_suffix(".new").write_text(text)
        self._names.with_suffix(".new").replace(self._names)

    def pids(self) -> list[int]:
        """The processes of the hub itself, without the upstreams that it runs."""
        return [pid for pid in map(int, os.listdir(self._windows.name)) if alive(pid)]

    def ask(self, pid: int) -> dict[str, Any]:
        """What one of its processes holds."""
        with socket.socket(socket.AF_UNIX) as window:
            window.settimeout(10)
            window.connect(f"{self._windows.name}/{pid}")
            return dict(json.loads(b"".join(iter(lambda: window.recv(65_536), b""))))


@dataclass(frozen=True, slots=True)
class Holdings:
    """All processes of a hub together. Sockets, pipes and the like are counted by kind; files are not.

    Each of a bounded number of threads keeps its own connection to SQLite once it has needed one.
    """

    tasks: Counter[str]
    descriptors: Counter[str]
    children: int
    memory_kb: int

    @classmethod
    def of(cls, hub: WatchedHub) -> "Holdings":
        """What the hub holds at this moment."""
        told = [hub.ask(pid) for pid in hub.pids()]
        return cls(
            Counter(_kind(name) for each in told for name in each["tasks"]),
            Counter(kind for pid in hub.pids() for kind in _descriptors(pid)),
            len(hub.children()),
            sum(each["memory_kb"] for each in told),
        )

    def beyond(self, before: "Holdings", memory_kb: int = MEMORY_KB) -> list[str]:
        """What there is more of than before, in words."""
        found = [f"{count} × task {name}" for name, count in (self.tasks - before.tasks).items()]
        found += [f"{count} × {kind}" for kind, count in (self.descriptors - before.descriptors).items()]
        if self.children > before.children:
            found.append(f"{self.children - before.children} × process")
        if self.memory_kb > before.memory_kb + memory_kb:
            found.append(f"{(self.memory_kb - before.memory_kb) // 1024} MB")
        return found


class Baseline:
    """Taken of a hub that has been used and is at rest."""

    def __init__(self, hub: WatchedHub) -> None:
        self._hub: Final = hub
        self.before: Final = _at_rest(hub)
        for pid in hub.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak_kb(self) -> int:
        """How far memory rose above the baseline since it was taken, at its highest."""
        return sum(_peak_kb(pid) for pid in self._hub.pids()) - self.before.memory_kb

    def expect_return(self, memory_kb: int = MEMORY_KB, within: float = SETTLE_S) -> None:
        """Wait until the hub holds no more than before. Raises `AssertionError` that names what it still holds."""
        beyond: list[str] = []

        def back() -> bool:
            beyond[:] = Holdings.of(self._hub).beyond(self.before, memory_kb)
            return not beyond

        try:
            until("the return to the baseline", back, within)
        except AssertionError as late:
            raise AssertionError(f"{late}; still there: {', '.join(beyond)}") from None


def _at_rest(hub: WatchedHub) -> Holdings:
    """What the hub holds once several looks in a row have found the same tasks and descriptors."""
    looks: list[Holdings] = []

    def same() -> bool:
        looks.append(Holdings.of(hub))
        last = looks[-ALIKE:]
        return len(last) == ALIKE and all(
            (x.tasks, x.descriptors) == (last[0].tasks, last[0].descriptors) for x in last
        )

    until("a hub at rest", same, SETTLE_S)
    return looks[-1]


def _kind(name: str) -> str:
    """A task's name without what is different each time."""
    return re.sub(r"\d+", "N", name)


def _descriptors(pid: int) -> Iterator[str]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if found := HELD.match(os.readlink(entry)):
                yield found[0]


def _peak_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1])  # type: ignore[index]  # every process has one
