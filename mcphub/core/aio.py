"""Owned tasks and thread hops for the asynchronous edge."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

import structlog
from django.db import close_old_connections, connections

P = ParamSpec("P")
T = TypeVar("T")

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

    Stale database connections are closed before and after, as Django does around a request.
    """
    call = functools.partial(_with_fresh_connections, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_threads, call)


def _with_fresh_connections(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    close_old_connections()
    try:
        return function(*args, **kwargs)
    finally:
        if connections.settings["default"].get("CONN_MAX_AGE") == 0:
            connections.close_all()
        else:
            close_old_connections()
