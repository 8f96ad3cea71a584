"""Owned tasks and thread hops for the asynchronous edge."""

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

import structlog
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

P = ParamSpec("P")
T = TypeVar("T")

KEPT_S: Final = 60

log = structlog.get_logger(__name__)

_owned: set[asyncio.Task[Any]] = set()
_threads: Final = ThreadPoolExecutor(max_workers=8, thread_name_prefix="mcphub-db")


def spawn(work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """Start `work` as a task that is kept alive and whose failure is logged once, under `name`."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _owned.add(task)
    task.add_done_callback(_finished)
    return task


def _finished(task: asyncio.Task[Any]) -> None:
    _owned.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task_failed", task=task.get_name(), exc_info=error)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel `tasks` and wait until every one has ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking `function` (Django ORM allowed) in a pool thread and await its result.

    A thread keeps its connection to SQLite for a while, for to connect costs more than what most functions do; one to
    PostgreSQL goes back to the pool. After a database error it is closed.
    """
    call = functools.partial(_connected, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_threads, call)


def _connected(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()
    try:
        return function(*args, **kwargs)
    finally:
        for connection in connections.all(initialized_only=True):
            if connection.vendor == "sqlite" and not connection.errors_occurred:
                _keep(connection)
            else:
                connection.close()


def _keep(connection: BaseDatabaseWrapper) -> None:
    """Let a connection that is new live for `KEPT_S`: Django's own limit is 0, and right for a request's thread."""
    now = time.monotonic()
    if connection.close_at is not None and connection.close_at <= now:
        connection.close_at = now + KEPT_S
