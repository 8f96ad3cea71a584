"""Clients for everything that goes out besides calls to upstreams: OAuth, discovery documents, release feeds.

Each connects only to addresses that the egress guard has checked, ignores proxies of the environment, and
follows redirects within the origin only. `client` is for our own requests; `sdk_client` is what is handed
to the MCP SDK, which takes no other kind. Both are context managers; make one, use it many times.
"""

import ssl
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import httpcore
import httpcore2
import httpx
import httpx2

from mcphub.core import netguard

TIMEOUT_S: Final = 10.0
MAX_REDIRECTS: Final = 3


class RedirectedElsewhere(Exception):
    """An answer redirects to another origin, where neither the request nor its credentials may go."""


def client(allow: Sequence[str] = (), timeout_s: float = TIMEOUT_S) -> httpx.AsyncClient:
    """A guarded client. Raises `netguard.EgressBlocked` and `RedirectedElsewhere` besides httpx's own errors."""
    transport = httpx.AsyncHTTPTransport(verify=_trust(), trust_env=False)
    # httpx has no public way to give its pool a network backend, where alone addresses can be checked.
    transport._pool = httpcore.AsyncConnectionPool(ssl_context=_trust(), network_backend=_guarded(httpcore, allow))
    return httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        timeout=timeout_s,
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        event_hooks={"response": [_stay]},
    )


def sdk_client(allow: Sequence[str] = (), timeout_s: float = TIMEOUT_S) -> httpx2.AsyncClient:
    """As `client`, for the MCP SDK."""
    transport = httpx2.AsyncHTTPTransport(verify=_trust(), trust_env=False)
    # As above.
    transport._pool = httpcore2.AsyncConnectionPool(ssl_context=_trust(), network_backend=_guarded(httpcore2, allow))
    return httpx2.AsyncClient(
        transport=transport,
        trust_env=False,
        timeout=timeout_s,
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        event_hooks={"response": [_stay]},
    )


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    """The machine's trust store, read once: it takes 20 ms."""
    return ssl.create_default_context()


async def _stay(response: Any) -> None:
    if response.has_redirect_location:
        here, there = response.request.url, response.request.url.join(response.headers["location"])
        if (here.scheme, here.host, here.port) != (there.scheme, there.host, there.port):
            raise RedirectedElsewhere(f"{here.host} redirects to {there.host}")


def _guarded(core: Any, allow: Sequence[str]) -> Any:
    """The two libraries have class trees of their own over one shape: the backend fits either."""
    return _Guarded(core, allow)


class _Guarded:
    """A network backend of `core` (httpcore or httpcore2) that opens checked addresses only."""

    def __init__(self, core: Any, allow: Sequence[str]) -> None:
        self._core = core
        self._allow = allow
        self._inner = core.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Any:
        try:
            addresses = await netguard.resolve(host, port, self._allow)
        except OSError as error:
            raise self._core.ConnectError(str(error)) from error
        *others, last = addresses
        for address in others:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (self._core.ConnectError, self._core.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(last, port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> Any:
        raise self._core.ConnectError("unix sockets are not opened")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)
