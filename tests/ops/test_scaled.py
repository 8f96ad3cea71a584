"""`serve` with several workers on PostgreSQL and Redis; `/ready` and what it names; worker and beat."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.harness.hub import Hub
from tests.harness.processes import age_s, alive, until_gone
from tests.harness.services import PostgreSQL, Redis
from tests.harness.waiting import until


@pytest.fixture
def hub(tmp_path: Path, postgresql: PostgreSQL, redis: Redis) -> Iterator[Hub]:
    made = Hub(tmp_path / "hub", database_url=postgresql.url, redis_url=redis.url)
    made.folder.mkdir()
    made.manage("migrate", "--verbosity", "0")
    with made:
        yield made


@pytest.mark.requirement("X6")
def test_dead_worker_is_replaced_and_all_end_with_their_supervisor(hub: Hub) -> None:
    hub.serve("--workers", "2")
    first = until("two workers", lambda: len(hub.children()) == 2 and hub.children())
    until("a proved start", lambda: httpx.get(f"{hub.url}/live").status_code == 200)
    signal_after_proof(hub, first)
    until("a new worker", lambda: len(hub.children() - first) == 1, within=30)
    assert httpx.get(f"{hub.url}/healthz").status_code == 200
    workers = hub.children()
    os.kill(hub.process.pid, signal.SIGKILL)
    until_gone(workers, within=30)


def signal_after_proof(hub: Hub, workers: set[int]) -> None:
    """Kill one worker once the supervisor counts the start as proved (it died at its start otherwise)."""
    until("five seconds of life", lambda: age_s(hub.process.pid) > 7, within=20)
    victim = min(workers)
    os.kill(victim, signal.SIGKILL)
    until("its end", lambda: not alive(victim))


@pytest.mark.requirement("X6")
def test_term_ends_supervisor_and_workers_with_0(hub: Hub) -> None:
    hub.serve("--workers", "2")
    until("two workers", lambda: len(hub.children()) == 2)
    assert hub.terminate() == 0


@pytest.mark.requirement("X5")
def test_ready_names_the_part_that_is_missing(hub: Hub, redis: Redis) -> None:
    hub.serve()
    redis.stop()
    answer = httpx.get(f"{hub.url}/ready")
    assert answer.status_code == 503
    assert set(answer.json()["parts"]) == {"redis"}
    assert httpx.get(f"{hub.url}/live").status_code == 200
    assert httpx.get(f"{hub.url}/health").json() == {"status": "ok"}


def test_several_workers_need_a_shared_database(tmp_path: Path) -> None:
    with Hub(tmp_path / "hub") as hub:
        hub.folder.mkdir()
        hub.manage("serve", "--workers", "2", fails=2)


def test_serve_refuses_tables_of_another_version(tmp_path: Path) -> None:
    with Hub(tmp_path / "hub") as hub:
        hub.folder.mkdir()
        hub.manage("serve", "--port", "0", fails=1)
