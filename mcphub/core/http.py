"""Clients for everything that goes out besides calls to upstreams: OAuth, discovery documents, release feeds.

They connect only to addresses that the egress guard has checked, ignore proxies of the environment, and follow
redirects within the origin only. A client is a context manager; make one, use it many times.
"""

import ssl
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import httpcore
import httpx

from mcphub.core import netguard

TIMEOUT_S: Final = 10.0
MAX_REDIRECTS: Final = 3


class RedirectedElsewhere(Exception):
    """An answer redirects to another origin, where neither the request nor its credentials may go."""


def client(allow: Sequence[str] = (), timeout_s: float = TIMEOUT_S) -> httpx.AsyncClient:
    """A guarded client. Raises `netguard.EgressBlocked` and `RedirectedElsewhere` besides httpx's own errors."""
    transport = httpx.AsyncHTTPTransport(verify=_trust(), trust_env=False)
    # httpx has no public way to give its pool a network backend, where alone addresses can be checked.
    transport._pool = httpcore.AsyncConnectionPool(ssl_context=_trust(), network_backend=_Guarded(allow))
    return httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        timeout=timeout_s,
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        event_hooks={"response": [_stay]},
    )


def blocking_client(allow: Sequence[str] = (), timeout_s: float = TIMEOUT_S) -> httpx.Client:
    """The same for a thread that may wait."""
    transport = httpx.HTTPTransport(verify=_trust(), trust_env=False)
    transport._pool = httpcore.ConnectionPool(ssl_context=_trust(), network_backend=_GuardedBlocking(allow))
    return httpx.Client(
        transport=transport,
        trust_env=False,
        timeout=timeout_s,
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        event_hooks={"response": [_stay_here]},
    )


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    """The machine's trust store, read once: it takes 20 ms."""
    return ssl.create_default_context()


async def _stay(response: httpx.Response) -> None:
    _stay_here(response)


def _stay_here(response: httpx.Response) -> None:
    if response.has_redirect_location:
        here, there = response.request.url, response.request.url.join(response.headers["location"])
        if (here.scheme, here.host, here.port) != (there.scheme, there.host, there.port):
            raise RedirectedElsewhere(f"{here.host} redirects to {there.host}")


class _Guarded(httpcore.AsyncNetworkBackend):
    """Opens checked addresses only."""

    def __init__(self, allow: Sequence[str]) -> None:
        self._allow = allow
        self._inner: Final = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = await netguard.resolve(host, port, self._allow)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        *others, last = addresses
        for address in others:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(last, port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("unix sockets are not opened")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _GuardedBlocking(httpcore.NetworkBackend):
    """The same for a thread that may wait."""

    def __init__(self, allow: Sequence[str]) -> None:
        self._allow = allow
        self._inner: Final = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = netguard.resolve_blocking(host, port, self._allow)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        *others, last = addresses
        for address in others:
            try:
                return self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._inner.connect_tcp(last, port, timeout, local_address, socket_options)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        raise httpcore.ConnectError("unix sockets are not opened")

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)
