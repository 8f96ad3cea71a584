"""Requests to authorization servers and for metadata: guarded, same origin, capped in size and in time."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import httpx2
from django.conf import settings

from mcphub.core import http
from mcphub.core.netguard import EgressBlocked
from upstreams.oauth.errors import Refused, Unavailable
from upstreams.oauth.types import Allow

JSON: Final = {"accept": "application/json"}
CODED: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""Headers of the body as it travelled, which is decoded here."""


class Outgoing:
    """One conversation's way out. What comes back is the SDK's kind of answer, read whole."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def get(self, url: str, headers: Mapping[str, str] = JSON) -> httpx2.Response:
        """The answer to a GET, whatever its status. Raises `Refused` and `Unavailable`."""
        return await self._send(self._client.build_request("GET", url, headers=dict(headers)), follow=True)

    async def post_form(self, url: str, data: Mapping[str, str], headers: Mapping[str, str]) -> httpx2.Response:
        """The answer to a form; a redirect is an answer. Raises `Refused` and `Unavailable`."""
        request = self._client.build_request("POST", url, data=dict(data), headers={**JSON, **headers})
        return await self._send(request, follow=False)

    async def post_json(self, url: str, body: Mapping[str, Any]) -> httpx2.Response:
        """The answer to a JSON document; a redirect is an answer. Raises `Refused` and `Unavailable`."""
        return await self._send(self._client.build_request("POST", url, json=dict(body), headers=JSON), follow=False)

    async def knock(self, url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> httpx2.Response:
        """Status and headers of the answer alone. Raises `Refused` and `Unavailable`."""
        request = self._client.build_request("POST", url, json=dict(body), headers=dict(headers))
        return await self._send(request, follow=False, read=False)

    async def _send(self, request: httpx.Request, *, follow: bool, read: bool = True) -> httpx2.Response:
        limits = settings.HUB.limits
        place = request.url.host
        try:
            async with asyncio.timeout(limits.oauth_s):
                answer = await self._client.send(request, stream=True, follow_redirects=follow)
                try:
                    body = await _capped(answer, limits.oauth_bytes) if read else b""
                finally:
                    await answer.aclose()
        except EgressBlocked as error:
            raise Refused(f"{error}. An operator has to allow {error.host}:{error.port}.") from error
        except http.RedirectedElsewhere as error:
            raise Refused(f"{error}; such redirects are not followed.") from error
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            raise Unavailable(f"{place} does not answer.") from error
        except (httpx.InvalidURL, UnicodeError) as error:
            raise Refused("An address that the upstream published cannot be used.") from error
        kept = [(name, value) for name, value in answer.headers.multi_items() if name not in CODED]
        return httpx2.Response(answer.status_code, headers=kept, content=body)


async def _capped(answer: httpx.Response, most: int) -> bytes:
    body = b""
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > most:
            raise Refused(f"{answer.request.url.host} sends more than a metadata or token answer may have.")
    return body


@asynccontextmanager
async def outgoing(allow: Allow) -> AsyncIterator[Outgoing]:
    """The way out for one conversation. `allow` are the private places that this upstream may lead to."""
    async with http.client((*settings.HUB.egress_allow, *allow), settings.HUB.limits.oauth_s) as client:
        yield Outgoing(client)
