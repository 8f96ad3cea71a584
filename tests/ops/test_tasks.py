"""Background tasks: the same functions on threads of the standalone hub and in processes of their own."""

import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery

from mcphub.celery import app
from mcphub.schedule import SCHEDULE
from tests.harness.hub import MANAGE, ROOT, Hub
from tests.harness.processes import Process
from tests.harness.services import PostgreSQL, Redis
from tests.harness.waiting import until


@pytest.mark.parametrize("mode", ["task", "beat", "dead-beat"])
def test_embedded_threads_take_tasks_and_end(mode: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.ops.embedded", mode], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ran.stdout.split() == ["done", "stopped"], ran.stderr


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
