"""The upstreams that a start of `up` brings with it: a servers file, one server behind `--`, the demo.

They become rows that belong to a file and follow it. What is not in a file of the person's own is written
to one in the data folder, so that there is one way in.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from mcphub.accounts.models import Org
from mcphub.core.flags import SINGLE_UPSTREAM
from upstreams.models import Upstream
from upstreams.serversfile import Remark, entries_of
from upstreams.services import SyncReport, sync_file

GENERATED: Final = "started-with.json"
DEMO: Final = "demo"
DEMO_SCRIPT: Final = Path(__file__).with_name("demo_upstream.py")


class BadServers(Exception):
    """The servers cannot be taken over; every fault with its place."""

    def __init__(self, faults: Iterable[Remark]) -> None:
        self.faults: Final = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


@dataclass(frozen=True, slots=True)
class Brought:
    """What the command line named. `words` are those behind `--`: a command with its arguments, or a URL."""

    config: Path | None = None
    words: tuple[str, ...] = ()
    server_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    demo: bool = False

    @property
    def is_url(self) -> bool:
        """Whether the one server behind `--` is called over HTTP."""
        return bool(self.words) and self.words[0].startswith(("http://", "https://"))

    def own_entries(self) -> dict[str, Any]:
        """The entries of an `mcpServers` document that no file of the person's holds."""
        entries: dict[str, Any] = {}
        if self.words:
            entries[SINGLE_UPSTREAM] = self._single()
        if self.demo:
            entries[DEMO] = {"command": sys.executable, "args": [str(DEMO_SCRIPT)]}
        return entries

    def _single(self) -> dict[str, Any]:
        kind = {"type": self.server_type} if self.server_type else {}
        if self.is_url:
            return {**kind, "url": self.words[0], "headers": dict(self.headers)}
        command, *arguments = self.words
        return {**kind, "command": command, "args": arguments, "env": dict(self.env)}


def file_of(brought: Brought) -> Path | None:
    """The servers file that this start follows; None when it brings none and none was brought before."""
    generated = settings.HUB.data_dir / GENERATED
    own = brought.own_entries()
    if not own:
        return brought.config or (_emptied(generated) if generated.exists() else None)
    entries = _entries(brought.config) if brought.config else {}
    twice = sorted(entries.keys() & own.keys())
    if twice:
        raise BadServers(Remark(f"mcpServers.{name}", "this start takes the name; use another one") for name in twice)
    return _written(generated, {"mcpServers": {**entries, **own}})


def _entries(path: Path) -> Mapping[str, Any]:
    try:
        document = path.read_bytes()
    except OSError as error:
        raise BadServers([Remark("", error.strerror or "cannot be read")]) from None
    faults: list[Remark] = []
    entries = entries_of(document, faults)
    if faults:
        raise BadServers(faults)
    return entries


def _emptied(path: Path) -> Path:
    return _written(path, {"mcpServers": {}})


def _written(path: Path, document: Any) -> Path:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        json.dump(document, stream, indent=2)
    return path


def take_over(org: Org, brought: Brought) -> SyncReport:
    """Make the rows what the command line and its file say now. With faults nothing was changed."""
    try:
        path = file_of(brought)
    except BadServers as bad:
        return SyncReport(faults=bad.faults)
    return sync_file(org, path) if path is not None else SyncReport()


def check_single(org: Org) -> None:
    """Raises `BadServers` when the server behind `--` could not get its slug."""
    generated = str((settings.HUB.data_dir / GENERATED).resolve())
    if not Upstream.objects.for_org(org).filter(slug=SINGLE_UPSTREAM, source=generated).exists():
        text = (
            f"An upstream named “{SINGLE_UPSTREAM}” was made in the admin, and the server behind -- needs that name"
        )
        raise BadServers([Remark("", f"{text}; rename that one.")])
