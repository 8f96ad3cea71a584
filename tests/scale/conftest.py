"""Two hubs on one PostgreSQL and one Redis."""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from mcp import Client

from tests.harness.hub import ROOT, Hub, servers_file
from tests.harness.services import PostgreSQL, Redis
from tests.harness.upstreams import asking_http, telling_stdio
from tests.harness.waiting import until

LEASE_S: Final = 3


class Counted:
    """Where the counting server of these hubs writes."""

    folder: Path

    def starts(self) -> list[int]:
        """Process ids of every start of the counting server so far."""
        return [int(line) for line in (self.folder / "starts").read_text().split()]

    def marks(self) -> list[str]:
        """What the waits of the counting server have written."""
        marks = self.folder / "marks"
        return marks.read_text().split() if marks.exists() else []


@dataclass
class Pair(Counted):
    """Two web processes that know one another only through the database and Redis."""

    hubs: tuple[Hub, Hub]
    shared: "Shared"

    def __post_init__(self) -> None:
        self.folder = self.shared.folder

    @property
    def ports(self) -> tuple[int, int]:
        return self.hubs[0].port, self.hubs[1].port

    def owner(self) -> tuple[Hub, Hub]:
        """The hub below which the counting server runs, and the other one."""
        running = self.starts()[-1]
        first, second = self.hubs
        return (first, second) if running in first.children() else (second, first)


def counting(folder: Path) -> dict[str, Any]:
    """The entry of a servers file for the counting server."""
    environment = {"STARTS": str(folder / "starts"), "MARKS": str(folder / "marks"), "PYTHONPATH": str(ROOT)}
    return {
        "command": sys.executable,
        "args": ["-m", "tests.harness.upstreams.counting_server"],
        "env": environment,
    }


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two hubs that all tests of this folder share: nobody may end one of them."""
    with running_pair(tmp_path_factory.mktemp("pair")) as running:
        yield running


@pytest.fixture(scope="session")
def keys(pair: Pair) -> list[str]:
    """The keys of four principals."""

    def made(name: str) -> str:
        hub = pair.hubs[0]
        return str(hub.manage_json("create_key", name, "--org", "default", "--role", "operator")["key"])

    with ThreadPoolExecutor() as threads:
        return [pair.shared.key, *threads.map(made, ("second", "third", "fourth"))]


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        yield client


@dataclass
class Shared(Counted):
    """What the web processes of one hub have in common, and how to make one."""

    folder: Path
    postgresql: PostgreSQL
    redis: Redis
    settings: Mapping[str, str]
    upstreams: Sequence[str]
    key: str

    def hub(self, name: str, *, data: str = "data") -> Hub:
        """A web process that is not started yet, its data in this folder."""
        settings = {**self.settings, "data_dir": str(self.folder / data)}
        return Hub(self.folder / name, key=self.key, **settings)

    def until_serving(self, hub: Hub) -> Hub:
        """Return once it is ready and every upstream is in its lists."""
        until("the hub's readiness", hub.is_ready, 40)
        return hub.until_listed(*self.upstreams)


@contextmanager
def shared(folder: Path, *, lease_s: int = LEASE_S) -> Iterator[Shared]:
    """Database and Redis, with the counting server, one that tells news, and three over HTTP that ask."""
    postgresql, redis = PostgreSQL(), Redis(folder / "redis")
    postgresql.start()
    redis.start()
    settings = {
        "database_url": postgresql.url,
        "redis_url": redis.url,
        "limits": f"lease_s={lease_s},ack_s=1,silent_s=3",
        "encryption_keys": secrets.token_hex(),
        "secret_key": secrets.token_hex(),
    }
    try:
        with (
            asking_http(folder, "handshake") as asking,
            asking_http(folder, "modern") as modern,
            asking_http(folder, "both") as both,
        ):
            servers = {
                "counting": counting(folder),
                "asking": {"url": asking},
                "modern": {"url": modern},
                "both": {"url": both},
                "telling": telling_stdio("handshake"),
            }
            prepared = Hub(folder / "prepared", key=None, **settings)
            prepared.prepare(servers_file(folder / "servers.json", servers))
            yield Shared(folder, postgresql, redis, settings, list(servers), prepared.key)
    finally:
        redis.stop()
        postgresql.close()


@contextmanager
def running_pair(folder: Path, *, lease_s: int = LEASE_S, strangers: bool = False) -> Iterator[Pair]:
    """Two hubs. `strangers` share no folder, as if each ran on a machine of its own."""
    with shared(folder, lease_s=lease_s) as common:
        names = ("one", "two")
        first, second = (common.hub(name, data=f"{name}/data" if strangers else "data") for name in names)
        with first, second:
            for hub in (first, second):
                hub.serve(wait=False)
            for hub in (first, second):
                common.until_serving(hub)
            yield Pair((first, second), common)


def text_of(result: Any) -> str:
    """The text of a tool's result that is no error."""
    assert not result.is_error, result
    return str(result.content[0].text)


async def recovered(client: Client) -> str:
    """The first tally that is no error; errors meanwhile have certainly had no effect."""
    async with asyncio.timeout(40):
        while True:
            result = await client.call_tool("counting__tally", {})
            if not result.is_error:
                return text_of(result)
            assert result.meta["mcphub/error"]["outcome"] == "not_sent"
            await asyncio.sleep(0.2)
