"""Celery's worker and beat as threads of the standalone hub, on a broker in memory.

A queue lost at a restart loses nothing: every task looks for due work in the database.
"""

import threading
from typing import Any, Final

import structlog
from celery.beat import EmbeddedService
from celery.worker import WorkController

from mcphub.celery import app

THREADS: Final = 2
STOP_S: Final = 5

log = structlog.get_logger(__name__)


class EmbeddedWorkers:
    """Started before the hub serves, stopped after it has drained."""

    def __init__(self) -> None:
        self._worker: Any = WorkController(
            app=app,
            pool="threads",
            concurrency=THREADS,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        self._beat: Any = EmbeddedService(app, thread=True, scheduler_cls=app.conf.beat_scheduler)
        self._thread: Final = threading.Thread(target=self._worker.start, name="celery-worker", daemon=True)

    def start(self) -> None:
        """Begin to take and to schedule tasks."""
        self._thread.start()
        self._beat.start()

    def stop(self) -> None:
        """End both; tasks under way get some seconds. Blocks, so call it off the loop."""
        self._beat.service.stop(wait=False)  # waiting has no end when the beat's thread has died
        self._worker.stop()
        for thread in (self._beat, self._thread):
            thread.join(STOP_S)
            if thread.is_alive():
                log.warning("background_work_still_running", thread=thread.name, after_s=STOP_S)
