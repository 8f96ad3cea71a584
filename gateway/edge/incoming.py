"""Who was let in, and one HTTP request of theirs."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec

from gateway.edge.outlet import Outlet
from gateway.errors import INVALID_REQUEST, refused
from gateway.types import Credentials, Route
from mcphub.core.principal import Principal

ANY_JSON: Final = frozenset({"*/*", "application/*", "application/json"})
UTF8: Final = frozenset({"charset=utf-8", 'charset="utf-8"', "charset=utf8"})
ANY_EVENTS: Final = frozenset({"*/*", "text/*", "text/event-stream"})


class Caller(msgspec.Struct, eq=False):
    """Who asks, where, and with which headers."""

    headers: Mapping[bytes, bytes]
    route: Route
    credentials: Credentials
    principal: Principal
    source: str


class Incoming(Caller, eq=False):
    """One HTTP request, and where its answer goes."""

    outlet: Outlet


def check_media(incoming: Incoming) -> None:
    """What a POST sends and takes. Raises `Refused`: 415 unless it sends JSON, 406 when it takes neither form."""
    if not is_json(incoming.headers.get(b"content-type", b"")):
        raise refused(415, INVALID_REQUEST, "Content-Type must be application/json")
    outlet = incoming.outlet
    outlet.json, outlet.sse = accepted(incoming.headers.get(b"accept", b"*/*"))
    if not outlet.json and not outlet.sse:
        raise refused(406, INVALID_REQUEST, "Accept must name application/json and text/event-stream")


@lru_cache(maxsize=256)
def is_json(content_type: bytes) -> bool:
    """Whether a Content-Type is JSON in UTF-8."""
    kind, *parameters = (part.strip() for part in content_type.decode("latin-1").lower().split(";"))
    charsets = [part for part in parameters if part.startswith("charset=")]
    return kind == "application/json" and all(part in UTF8 for part in charsets)


@lru_cache(maxsize=256)
def accepted(accept: bytes) -> tuple[bool, bool]:
    """Whether an Accept header takes JSON, and whether it takes events (RFC 9110 section 12.5.1, without weights)."""
    kinds = {part.partition(";")[0].strip().lower() for part in accept.decode("latin-1").split(",")}
    return not kinds.isdisjoint(ANY_JSON), not kinds.isdisjoint(ANY_EVENTS)
