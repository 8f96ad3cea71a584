"""Background tasks: the same functions on threads of the standalone hub and in processes of their own."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from mcphub.celery import app
from mcphub.schedule import SCHEDULE
from mcphub.standalone.workers import EmbeddedWorkers
from tests.harness.hub import MANAGE, Hub
from tests.harness.processes import Process
from tests.harness.services import PostgreSQL, Redis
from tests.harness.waiting import until

done = threading.Event()


@app.task(name="tests.done")
def note_done() -> None:
    done.set()


@pytest.fixture
def workers() -> Iterator[EmbeddedWorkers]:
    running = EmbeddedWorkers()
    running.start()
    yield running
    running.stop()


def test_embedded_worker_takes_tasks_and_stops(workers: EmbeddedWorkers) -> None:
    done.clear()
    app.send_task("tests.done")
    assert done.wait(10)


def test_embedded_beat_sends_what_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    done.clear()
    monkeypatch.setitem(SCHEDULE, "often", {"task": "tests.done", "schedule": 0.2})
    running = EmbeddedWorkers()
    running.start()
    try:
        assert done.wait(10)
    finally:
        running.stop()


def test_a_beat_that_died_does_not_hold_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise EOFError

    running = EmbeddedWorkers()
    monkeypatch.setattr(running._beat.service, "start", broken)
    ending = threading.Thread(target=running.stop, daemon=True)
    running.start()
    ending.start()
    ending.join(15)
    assert not ending.is_alive()


def test_every_scheduled_task_exists() -> None:
    app.loader.import_default_modules()
    assert {entry["task"] for entry in SCHEDULE.values()} <= set(app.tasks)


def test_worker_and_beat_as_processes(tmp_path: Path, postgresql: PostgreSQL, redis: Redis) -> None:
    hub = Hub(tmp_path / "hub", database_url=postgresql.url, redis_url=redis.url, log_level="celery=INFO")
    hub.folder.mkdir()
    hub.manage("migrate", "--verbosity", "0")
    worker = Process([*MANAGE, "worker"], tmp_path / "worker.log", env=hub.environment, cwd=tmp_path)
    beat = Process([*MANAGE, "beat"], tmp_path / "beat.log", env=hub.environment, cwd=tmp_path)
    try:
        Celery(broker=redis.url).send_task("audit.reconcile")
        until("the task's end", lambda: "Task audit.reconcile" in worker.output, within=60)
        until("beat's start", lambda: "beat: Starting" in beat.output, within=60)
    finally:
        codes = worker.stop(), beat.stop()
    assert codes == (0, 0)
