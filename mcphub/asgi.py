"""The ASGI application: health and the MCP endpoints are answered before Django sees the request."""

import asyncio
import os
from collections.abc import Awaitable
from typing import Any, Final

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcphub.settings")
django: Any = get_asgi_application()

from channels.routing import ProtocolTypeRouter  # noqa: E402  # needs the application registry above
from django.conf import settings  # noqa: E402

from gateway.edge.paths import parse  # noqa: E402
from gateway.runtime import runtime  # noqa: E402
from gateway.server.drain import Receive, Scope, Send  # noqa: E402
from mcphub import health, metrics  # noqa: E402
from mcphub.core import memory  # noqa: E402
from mcphub.front import Front, answer  # noqa: E402

pages: Final = Front(django)
counts: Final = Front(metrics.application)
PREFIX: Final = settings.START.path_prefix
WELL_KNOWN: Final = "/.well-known/"
PUBLIC_PREFIX: Final = settings.START.script_name

_starting: "asyncio.Task[None] | None" = None


async def start() -> None:
    """Start the background work of this process, once, whoever asks first."""
    global _starting
    if _starting is None:
        _starting = asyncio.get_running_loop().create_task(_start(), name="runtime-start")
    await asyncio.shield(_starting)


async def _start() -> None:
    await runtime().start()
    memory.settle()


async def stop() -> None:
    """End the background work."""
    global _starting
    if _starting is not None:
        await asyncio.wait({_starting})
        _starting = None
        await runtime().stop()


def below_prefix(scope: Scope) -> Scope | None:
    """The scope with its path below the hub's prefix; None when it lies elsewhere."""
    path = scope["path"]
    if not PREFIX:
        return scope
    if path.startswith(WELL_KNOWN):  # clients put it before the path of what they ask about (RFC 8615)
        return scope
    if path != PREFIX and not path.startswith(PREFIX + "/"):
        return None
    return {**scope, "path": path[len(PREFIX) :] or "/"}


def http(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """Hand the request to health, to the MCP edge or to Django, by its path below the hub's prefix."""
    if scope["path"] in health.PATHS:
        return health.application(scope, receive, send)
    if scope["path"] == metrics.PATH:
        return counts(scope, receive, send)
    below = below_prefix(scope)
    if below is None:
        return answer(send, 404, {"error": "not found"})
    if parse(below["path"]) is None:
        return pages(_as_clients_see_it(below), receive, send)
    return runtime().edge_app(below, receive, send) if _is_started() else _first(below, receive, send)


async def _first(scope: Scope, receive: Receive, send: Send) -> None:
    """A request that comes before the background work has started."""
    await start()
    await runtime().edge_app(scope, receive, send)


def _as_clients_see_it(below: Scope) -> Scope:
    """With what stands before the hub in the path, which Django takes off again: its links back need it."""
    return {**below, "path": PUBLIC_PREFIX + below["path"]} if PUBLIC_PREFIX else below


def _is_started() -> bool:
    return _starting is not None and _starting.done() and _starting.exception() is None


async def websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Hand the connection to the MCP edge; no other path takes WebSockets."""
    below = below_prefix(scope)
    if below is None or parse(below["path"]) is None:
        await receive()
        await send({"type": "websocket.close", "code": 1000})
        return
    if not _is_started():
        await start()
    await runtime().edge_app.websocket(below, receive, send)


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Start and stop with the server, where the server says when."""
    await receive()
    try:
        await start()
    except Exception as error:  # noqa: BLE001  # whatever it was, the server must be told so that it ends
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await stop()
    await send({"type": "lifespan.shutdown.complete"})


application: Any = ProtocolTypeRouter({"http": http, "websocket": websocket, "lifespan": lifespan})
