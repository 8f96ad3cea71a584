"""Reads what an upstream offers: every page of every kind that it says it has."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from mcphub.core.limits import Limits
from upstreams.errors import ProtocolFault, TooLarge, UpstreamFailed
from upstreams.reports import Listing
from upstreams.transports.base import METHOD_NOT_FOUND, own
from upstreams.types import Answer, Exchange, ServerFacts

KINDS: Final = (
    ("tools", "tool", "tools/list", "tools"),
    ("resources", "resource", "resources/list", "resources"),
    ("resources", "template", "resources/templates/list", "resourceTemplates"),
    ("prompts", "prompt", "prompts/list", "prompts"),
)

Ask = Callable[[Exchange], Awaitable[Answer]]


async def read_catalogue(ask: Ask, facts: ServerFacts, limits: Limits) -> Listing:
    """Kind → definitions as sent, in the upstream's order. Raises `UpstreamError`: a partial list is no list."""
    listing: dict[str, list[dict[str, Any]]] = {}
    for capability, kind, method, member in KINDS:
        if capability in facts.capabilities:
            listing[kind] = await _read_kind(ask, method, member, limits, cut=kind == "resource")
    return listing


async def read_resources(ask: Ask, limits: Limits) -> list[dict[str, Any]]:
    """The resources, as many as the limits allow. Raises `UpstreamError`."""
    return await _read_kind(ask, "resources/list", "resources", limits, cut=True)


async def read_tools(ask: Ask, limits: Limits) -> list[dict[str, Any]]:
    """Only the tools. Raises `UpstreamError`."""
    return await _read_kind(ask, "tools/list", "tools", limits)


async def _read_kind(
    ask: Ask, method: str, member: str, limits: Limits, *, cut: bool = False
) -> list[dict[str, Any]]:
    """All pages of one list. Over the limits it is `cut` short, or refused as a list that nobody can use."""
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    params: dict[str, Any] = {}
    for _ in range(limits.list_pages):
        page = await _read_page(ask, method, params)
        entries = page.get(member)
        if not isinstance(entries, list):
            raise ProtocolFault(f"The upstream answered {method} without a list.")
        found += [entry for entry in entries if isinstance(entry, dict)]
        if len(found) > limits.list_entries:
            if cut:
                return found[: limits.list_entries]
            raise TooLarge(f"The upstream offers more than {limits.list_entries} {member}.")
        cursor = page.get("nextCursor")
        if not isinstance(cursor, str) or cursor in seen:
            return found
        seen.add(cursor)
        params = {"cursor": cursor}
    if cut:
        return found
    raise TooLarge(f"The upstream's list of {member} has more than {limits.list_pages} pages.")


async def _read_page(ask: Ask, method: str, params: dict[str, Any]) -> dict[str, Any]:
    answer = await ask(own(method, params))
    if answer.error is not None:
        if answer.error.code == METHOD_NOT_FOUND:
            return {_member(method): []}
        raise UpstreamFailed(f"The upstream answered {method} with error {answer.error.code}.")
    try:
        return msgspec.json.decode(answer.result, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ProtocolFault(f"The upstream answered {method} with malformed JSON.") from error


def _member(method: str) -> str:
    return next(member for _, _, listed, member in KINDS if listed == method)
