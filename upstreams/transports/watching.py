"""The resources that one link watches, told to the upstream in its own era.

Handshake era: `resources/subscribe` for each. Modern era: one `subscriptions/listen` stream with all of them and
the lists that may change; a new filter is a new stream, acknowledged before the old one ends.
"""

from collections.abc import Awaitable, Collection, Mapping
from typing import Any, Final, Protocol

from upstreams.errors import RpcError, UpstreamError
from upstreams.transports.base import own
from upstreams.types import Answer, Era, Exchange, ServerFacts

LISTEN: Final = "subscriptions/listen"
ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
LISTS: Final = ("tools", "prompts", "resources")
NOT_HONOURED: Final = RpcError(-32602, "The server does not tell of changes to this resource")


class Watcher(Protocol):
    """The link whose resources these are."""

    facts: ServerFacts

    @property
    def era(self) -> Era:
        """What the link speaks."""

    def request(self, exchange: Exchange) -> Awaitable[Answer]:
        """Send and wait."""

    async def relisten(self) -> Mapping[str, Any]:
        """Listen to what is wanted now; what of it the upstream honours. Raises `UpstreamError`."""


class Watching:
    """What one link wants to hear of. Its caller makes one change at a time."""

    def __init__(self, link: Watcher) -> None:
        self._link = link
        self._uris: set[str] = set()

    def filter(self) -> dict[str, Any]:
        """The filter of `subscriptions/listen`; empty when the upstream has nothing to tell."""
        wanted: dict[str, Any] = {
            f"{kind}ListChanged": True for kind in LISTS if self._says(kind, "listChanged") is True
        }
        if self._uris:
            wanted["resourceSubscriptions"] = sorted(self._uris)
        return wanted

    async def add(self, uris: Collection[str]) -> Mapping[str, RpcError]:
        """Watch these too; the refusals among them. Raises `UpstreamError`."""
        if self._link.era == "modern":
            return await self._listen_for(set(uris) - self._uris)
        refused = {}
        for uri in uris:
            answer = await self._link.request(own("resources/subscribe", {"uri": uri}))
            if answer.error is not None:
                refused[uri] = answer.error
            else:
                self._uris.add(uri)
        return refused

    async def remove(self, uris: Collection[str]) -> None:
        """Watch these no more. Raises `UpstreamError`."""
        self._uris.difference_update(uris)
        if self._link.era == "modern":
            await self._link.relisten()
            return
        for uri in uris:
            await self._link.request(own("resources/unsubscribe", {"uri": uri}))

    async def _listen_for(self, new: set[str]) -> Mapping[str, RpcError]:
        if not new:
            return {}
        if self._says("resources", "subscribe") is not True:
            return dict.fromkeys(new, NOT_HONOURED)
        self._uris |= new
        try:
            honoured = (await self._link.relisten()).get("resourceSubscriptions")
        except UpstreamError:
            self._uris -= new
            raise
        refused = new.difference(honoured if isinstance(honoured, list) else ())
        self._uris -= refused
        return dict.fromkeys(refused, NOT_HONOURED)

    def _says(self, capability: str, member: str) -> Any:
        said = self._link.facts.capabilities.get(capability)
        return said.get(member) if isinstance(said, Mapping) else None
