"""A hub in a process of its own, run as a person runs it: `manage.py up …` or `manage.py serve …`."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import httpx

from tests.harness.processes import Process, children, free_port, until_gone
from tests.harness.raw import RpcFailed, ask
from tests.harness.tables import lay_out, lay_out_postgresql
from tests.harness.waiting import until

ROOT: Final = Path(__file__).resolve().parents[2]
MANAGE: Final = (sys.executable, str(ROOT / "manage.py"))
READY_S: Final = 300


class Hub:
    """Start it with `up` or `serve`; data, port and key stay the same over restarts.

    `folder` receives the data directory and the log; `settings` are `MCPHUB_…` variables without the prefix.
    """

    program: ClassVar[Sequence[str]] = MANAGE

    def __init__(self, folder: Path, *, key: str | None = "mcph-of-the-tests", **settings: str) -> None:
        self.folder: Final = folder
        self.port: Final = free_port()
        self.url: Final = f"http://127.0.0.1:{self.port}"
        self.mcp_url: Final = f"{self.url}/mcp"
        self._key = key
        self._arguments: tuple[str, ...] = ()
        self._process: Process | None = None
        self.environment: Final = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ},
            "MCPHUB_DATA_DIR": str(folder / "data"),
            **{f"MCPHUB_{name.upper()}": value for name, value in settings.items()},
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.exit_code is None:
            self.terminate()

    def up(self, *arguments: str, wait: bool = True) -> Self:
        """Start the standalone hub; `-- COMMAND` must come last. Returns when it is ready."""
        key = () if self._key is None else ("--api-key", self._key)
        return self._start("up", "--port", str(self.port), *key, *arguments, wait=wait)

    def serve(self, *arguments: str, wait: bool = True) -> Self:
        """Start the web role alone; the database must be migrated. Returns when it is ready."""
        return self._start("serve", "--port", str(self.port), *arguments, wait=wait)

    def prepare(self, servers: Path) -> None:
        """What `up` makes by itself and `serve` needs: tables, an org with these upstreams, its owner's key."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lay_out()
        if (url := self.environment.get("MCPHUB_DATABASE_URL")) is not None:
            lay_out_postgresql(url)
        self.manage("create_org", "default")
        self.manage("import_servers", str(servers))
        self._key = str(self.manage_json("create_key", "owner", "--org", "default", "--role", "owner")["key"])

    def _lay_out(self) -> None:
        if "MCPHUB_DATABASE_URL" not in self.environment:
            lay_out(Path(self.environment["MCPHUB_DATA_DIR"]))

    def _start(self, *arguments: str, wait: bool) -> Self:
        self._arguments = arguments
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lay_out()
        self._process = Process(
            [*self.program, *arguments], self.folder / "log", env=self.environment, cwd=self.folder
        )
        if wait:
            until("the hub's readiness", self.is_ready, READY_S)
        return self

    def is_ready(self) -> bool:
        """Whether `/ready` says so. Raises with the hub's output when it has ended."""
        self.process.expect_running()
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/ready", timeout=5).status_code == httpx.codes.OK
        return False

    def until_listed(self, *upstreams: str) -> Self:
        """Return once the tools of all these upstreams are in the owner's list. They start after the hub is ready."""
        until(f"tools of {', '.join(upstreams)}", lambda: self._listed().issuperset(upstreams), READY_S)
        return self

    def _listed(self) -> set[str]:
        found: set[str] = set()
        page: dict[str, Any] = {"nextCursor": ""}
        with contextlib.suppress(RpcFailed):  # a cursor ends with the list that it came from
            while "nextCursor" in page:
                page = ask(self.mcp_url, self.key, "tools/list", {"cursor": page["nextCursor"]})
                found |= {tool["name"].partition("__")[0] for tool in page["tools"]}
        return found

    @property
    def database(self) -> Path:
        """The file that the hub keeps everything in, unless it was given another database."""
        return self.folder / "data" / "mcphub.sqlite3"

    @property
    def process(self) -> Process:
        assert self._process is not None, "the hub was not started"
        return self._process

    @property
    def output(self) -> str:
        """What the running hub has printed."""
        return self.process.output

    @property
    def key(self) -> str:
        """The owner's API key: the one given, or the one that the first start printed."""
        if self._key is not None:
            return self._key
        found = re.search(r"\bmcph_\w+", (self.folder / "log").read_text())
        assert found is not None, f"no key was printed:\n{self.output}"
        return found.group()

    def children(self) -> set[int]:
        """Process ids of everything that the hub has started and that still hangs below it."""
        return children(self.process.pid)

    def terminate(self) -> int:
        """SIGTERM. Returns the exit code once everything that the hub started is gone too."""
        below = self.children()
        code = self.process.stop()
        until_gone(below)
        return code

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.process.stop(signal.SIGKILL)

    def restart(self) -> Self:
        """Start it again the way it was started last."""
        return self._start(*self._arguments, wait=True)

    def manage(self, *arguments: str, fails: int = 0) -> str:
        """Run another command of the hub on the same data; its standard output. `fails` is the exit code expected."""
        done = subprocess.run(
            [*MANAGE, *arguments], env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == fails, f"{arguments[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def manage_json(self, *arguments: str, fails: int = 0) -> Any:
        """The same with `--json`: what it printed, parsed."""
        return json.loads(self.manage(*arguments, "--json", fails=fails))


def servers_file(path: Path, servers: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write a Claude-Desktop style file of upstreams."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"mcpServers": servers}))
    return path
