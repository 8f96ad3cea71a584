"""One refresh, whoever wants it: two web processes, an authorization server that punishes the reuse of a token."""

import asyncio
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import httpx
import psycopg
import pytest

from tests.harness.hub import Hub, servers_file
from tests.harness.raw import RpcFailed, ask, raw_client
from tests.harness.services import PostgreSQL, Redis
from tests.harness.upstreams import Protected, protected_http
from tests.harness.waiting import until
from tests.oauth.person import Person

CALLS: Final = 50
ROUNDS: Final = 200
"""So often at most, until both processes have heard that the token is over."""
LEASE_S: Final = 2
EMAIL: Final = "alice@example.com"
REFRESH: Final = "refresh_token"


@dataclass
class Pair:
    """Two web processes without a Celery worker, and a protected upstream to which Alice is connected."""

    hubs: tuple[Hub, Hub]
    database: str
    upstream: Protected
    key: str

    def row(self, column: str) -> Any:
        """One column of Alice's credential."""
        with psycopg.connect(self.database) as link:
            found = link.execute(f"select {column} from upstreams_credential").fetchone()
        return found[0] if found else None

    def expire(self) -> None:
        """Let her access token be over, for every process."""
        with psycopg.connect(self.database) as link:
            link.execute(
                "update upstreams_credential set expires_at = now() - interval '1 minute', version = version + 1"
            )
            link.execute("update accounts_org set credentials_version = credentials_version + 1")

    def connect(self) -> None:
        """Alice connects, or connects again."""
        with psycopg.connect(self.database) as link:
            (upstream,) = link.execute("select id from upstreams_upstream").fetchone() or ()
            (user,) = link.execute("select id from accounts_user where email = %s", [EMAIL]).fetchone() or ()
        with Person(self.hubs[0].port, EMAIL).known_as("alice") as alice:
            page = alice.connect(str(upstream), f"user:{uuid.UUID(str(user))}")
        assert page.status_code == httpx.codes.OK, page.text
        for hub in self.hubs:
            until("her tools", lambda hub=hub: self.says(hub) == "alice", 20)

    def says(self, hub: Hub) -> str:
        """What `whoami` answers to Alice: the account, or the reason why there is none."""
        try:
            result = ask(f"{hub.url}/mcp/default/notes", self.key, "tools/call", {"name": "whoami", "arguments": {}})
        except RpcFailed as failed:
            return str(failed)
        if not result.get("isError"):
            return str(result["content"][0]["text"])
        return str(result["_meta"]["mcphub/error"]["reason"])

    def refreshes(self) -> list[int]:
        """The status of every refresh that the authorization server has seen."""
        return [entry["status"] for entry in self.upstream.asked(REFRESH)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("single-flight")
    postgresql, redis = PostgreSQL(), Redis(folder / "redis")
    postgresql.start()
    redis.start()
    settings = {
        "database_url": postgresql.url,
        "redis_url": redis.url,
        "data_dir": str(folder / "data"),
        "egress_allow": "127.0.0.1",
        "limits": f"renew_lease_s={LEASE_S}",
    }
    try:
        with protected_http(folder) as upstream:
            servers = servers_file(folder / "servers.json", {"notes": {"url": upstream.url, "oauth": {}}})
            first, second = (Hub(folder / name, key=None, **settings) for name in ("first", "second"))
            first.prepare(servers)
            with first.serve(), second.serve():
                with Person(first.port, EMAIL):
                    made = first.manage_json("create_key", "alice", "--user", EMAIL)
                running = Pair((first, second), postgresql.url, upstream, str(made["key"]))
                running.connect()
                yield running
    finally:
        redis.stop()
        postgresql.close()


@pytest.mark.requirement("C5")
@pytest.mark.requirement("F32")
@pytest.mark.requirement("F33")
async def test_fifty_calls_on_two_processes_refresh_a_single_use_token_once(pair: Pair) -> None:
    before = len(pair.refreshes())
    pair.expire()

    async def many(hub: Hub) -> list[str]:
        async with raw_client(f"{hub.url}/mcp/default/notes", pair.key, "modern") as client:
            results = await asyncio.gather(*(client.call("whoami", id=number) for number in range(CALLS // 2)))
        return [result["content"][0]["text"] for result in results]

    for _ in range(ROUNDS):
        said = await asyncio.gather(*map(many, pair.hubs))
        assert said == [["alice"] * (CALLS // 2)] * 2
        if len(pair.refreshes()) > before:
            break
    assert pair.refreshes()[before:] == [200]
    assert pair.row("state") == "connected"


def calling(pair: Pair, hub: Hub) -> None:
    """Call until the hub is gone: it may not have heard yet that the token is over."""
    while True:
        pair.says(hub)


@pytest.mark.requirement("C6")
@pytest.mark.requirement("F34")
def test_death_between_rotation_and_commit_ends_in_words_and_not_in_a_loop(pair: Pair) -> None:
    first, second = pair.hubs
    before = len(pair.refreshes())
    pair.upstream.hold.touch()
    first.process.send(signal.SIGSTOP)  # it would be as right for it to refresh
    pair.expire()
    with ThreadPoolExecutor(1) as thread:
        call = thread.submit(calling, pair, second)
        until("the rotation at the server", lambda: len(pair.refreshes()) > before, 20)
        second.kill()
        first.process.send(signal.SIGCONT)
        assert isinstance(call.exception(), httpx.TransportError)
    pair.upstream.hold.unlink()
    until("an answer in words", lambda: pair.says(first) == "needs_connection", 30)
    assert pair.refreshes()[before:] == [200, 400]
    assert [pair.says(first) for _ in range(5)] == ["needs_connection"] * 5
    assert pair.refreshes()[before:] == [200, 400]
    assert pair.row("state") == "needs_connection"
    second.restart()
    pair.connect()
    assert pair.says(second) == "alice"
