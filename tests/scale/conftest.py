"""Two hubs on one PostgreSQL and one Redis."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.harness.hub import ROOT, Hub, servers_file
from tests.harness.services import PostgreSQL, Redis
from tests.harness.upstreams import asking_http, telling_stdio
from tests.harness.waiting import until

LEASE_S: Final = 3


@dataclass
class Pair:
    """Two web processes that know one another only through the database and Redis."""

    hubs: tuple[Hub, Hub]
    folder: Path

    @property
    def ports(self) -> tuple[int, int]:
        return self.hubs[0].port, self.hubs[1].port

    def starts(self) -> list[int]:
        """Process ids of every start of the counting server so far."""
        return [int(line) for line in (self.folder / "starts").read_text().split()]

    def marks(self) -> list[str]:
        """What the waits of the counting server have written."""
        marks = self.folder / "marks"
        return marks.read_text().split() if marks.exists() else []

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


@pytest.fixture
def mortal_pair(tmp_path: Path) -> Iterator[Pair]:
    """Two hubs of one test."""
    with running_pair(tmp_path) as running:
        yield running


@contextmanager
def running_pair(folder: Path) -> Iterator[Pair]:
    """Two hubs with the counting server, one that tells news, and one over HTTP with sessions that asks."""
    postgresql, redis = PostgreSQL(), Redis(folder / "redis")
    postgresql.start()
    redis.start()
    try:
        with asking_http(folder, "handshake") as asking, asking_http(folder, "both") as both:
            servers = {
                "counting": counting(folder),
                "asking": {"url": asking},
                "both": {"url": both},
                "telling": telling_stdio("handshake"),
            }
            yield from _running(folder, postgresql, redis, servers)
    finally:
        redis.stop()
        postgresql.close()


def _running(
    folder: Path, postgresql: PostgreSQL, redis: Redis, servers: Mapping[str, Mapping[str, Any]]
) -> Iterator[Pair]:
    settings = {
        "database_url": postgresql.url,
        "redis_url": redis.url,
        "data_dir": str(folder / "data"),
        "limits": f"lease_s={LEASE_S},ack_s=1,silent_s=3",
    }
    first = Hub(folder / "one", key=None, **settings)
    first.prepare(servers_file(folder / "servers.json", servers))
    hubs = first, Hub(folder / "two", key=first.key, **settings)
    with hubs[0], hubs[1]:
        for hub in hubs:
            hub.serve(wait=False)
        for hub in hubs:
            until("the hub's readiness", hub.is_ready, 40)
            hub.until_listed(*servers)
        yield Pair(hubs, folder)


def text_of(result: Any) -> str:
    """The text of a tool's result that is no error."""
    assert not result.is_error, result
    return str(result.content[0].text)
