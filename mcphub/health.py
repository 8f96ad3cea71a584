"""`/live`, `/ready`, `/health`, `/healthz`: raw ASGI in front of Django, so that they answer when it cannot."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from gateway.runtime import runtime
from gateway.server.drain import Receive, Scope, Send, drain
from mcphub.core.aio import in_thread
from mcphub.core.schema import is_migrated
from mcphub.front import answer

PART_S: Final = 2
"""How long one part of `/ready` may take, in seconds."""

Answer = tuple[int, dict[str, Any]]


async def live() -> Answer:
    """The loop answers; says nothing of anything else."""
    return 200, {"status": "ok"}


async def healthz() -> Answer:
    """Whether a balancer should send new requests here."""
    return (503, {"status": "draining"}) if drain().draining else (200, {"status": "ok"})


async def ready() -> Answer:
    """Whether calls can be served: 503 names the parts that are not there."""
    faults = dict(zip(PARTS, await asyncio.gather(*(_fault(part) for part in PARTS.values())), strict=True))
    missing = {name: words for name, words in faults.items() if words}
    return (503, {"status": "unready", "parts": missing}) if missing else (200, {"status": "ready"})


async def _fault(part: Callable[[], Awaitable[str]]) -> str:
    try:
        async with asyncio.timeout(PART_S):
            return await part()
    except TimeoutError:
        return f"no answer within {PART_S} s"


async def _database() -> str:
    return await in_thread(_database_fault)


def _database_fault() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "not reachable"
    return ""


_migrated = False


async def _migrations() -> str:
    global _migrated
    if not _migrated:
        _migrated = await in_thread(is_migrated)
    return "" if _migrated else "not applied: run the migrate command"


async def _snapshot() -> str:
    return "" if runtime().is_ready() else "not loaded, or older than allowed"


async def _redis() -> str:
    if not settings.HUB.redis_url:
        return ""
    import redis.asyncio  # a quarter of a second that a hub without Redis need not pay

    client = redis.asyncio.from_url(settings.HUB.redis_url, socket_connect_timeout=PART_S)
    try:
        await client.ping()
    except (redis.exceptions.RedisError, OSError):
        return "not reachable"
    finally:
        await client.aclose()
    return ""


PARTS: Final[dict[str, Callable[[], Awaitable[str]]]] = {
    "database": _database,
    "migrations": _migrations,
    "snapshot": _snapshot,
    "redis": _redis,
}

PATHS: Final[dict[str, Callable[[], Awaitable[Answer]]]] = {
    "/live": live,
    "/ready": ready,
    "/health": live,
    "/healthz": healthz,
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one of `PATHS` with JSON."""
    status, document = await PATHS[scope["path"]]()
    await answer(send, status, document, head=scope["method"] == "HEAD")
