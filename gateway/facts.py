"""What the hub says of itself on one route to one principal: capabilities, server info, instructions."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.lists import view_of
from gateway.router import Reach
from mcphub import __version__
from policies.types import KINDS, Kind
from upstreams.naming import public_name
from upstreams.types import MODERN, ServerFacts

BLURB_CHARS: Final = 300
WANTS_ACCOUNT: Final = "The person has to connect their own account first, at {}"
CAPABILITY_OF: Final[dict[Kind, str]] = {
    "tool": "tools",
    "prompt": "prompts",
    "resource": "resources",
    "template": "resources",
}


def described(
    reach: Reach, facts_of: Callable[[str], ServerFacts | None], unconnected: Mapping[str, str]
) -> dict[str, Any]:
    """`capabilities`, `serverInfo` and `instructions` for `initialize` and `server/discover`.

    `unconnected` are the slugs of upstreams that want an account of this person first, and where to connect it.

    On an aggregate the capabilities are the union over the upstreams that the principal sees; on a
    single-upstream route they are that upstream's, as far as the hub can deliver them.
    """
    known = {
        public_name(each.snapshot.org.slug, spec.slug) if reach.others else spec.slug: facts_of(spec.id)
        for each in reach.each()
        for spec in each.specs()
        if each.sees(spec)
    }
    said: dict[str, Any] = {
        "capabilities": _capabilities(reach, known),
        "serverInfo": _server_info(reach, known),
    }
    if instructions := _instructions(reach, known, unconnected):
        said["instructions"] = instructions
    return said


def _capabilities(reach: Reach, known: Mapping[str, ServerFacts | None]) -> dict[str, Any]:
    declared = {name for facts in known.values() if facts for name in facts.capabilities}
    listed = {CAPABILITY_OF[kind] for kind in KINDS if view_of(reach, kind, MODERN).names}
    offered: dict[str, Any] = {
        name: {"listChanged": True}
        for name in ("tools", "prompts", "resources")
        if name in declared or name in listed or not reach.own_names
    }
    if "resources" in offered and not reach.others and any(_watches(facts) for facts in known.values()):
        offered["resources"]["subscribe"] = True
    offered.update({name: {} for name in ("completions", "logging") if name in declared})
    if extensions := _extensions(known):
        offered["extensions"] = extensions
    return offered


def _watches(facts: ServerFacts | None) -> bool:
    said = facts.capabilities.get("resources") if facts else None
    return isinstance(said, Mapping) and said.get("subscribe") is True


def _extensions(known: Mapping[str, ServerFacts | None]) -> dict[str, Any]:
    """Every extension of every upstream; where two say different things of one, what both say."""
    united: dict[str, Any] = {}
    for _, facts in sorted(known.items()):
        said = facts.capabilities.get("extensions") if facts else None
        for name, settings in said.items() if isinstance(said, Mapping) else ():
            united[name] = unite(united[name], settings) if name in united else settings
    return united


def unite(one: Any, other: Any) -> Any:
    """The settings of an extension on two servers as those of one: members and entries of both; else the first's."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        merged = {**other, **one}
        return {
            name: unite(one[name], other[name]) if name in one and name in other else merged[name] for name in merged
        }
    if isinstance(one, list) and isinstance(other, list):
        return [*one, *(entry for entry in other if entry not in one)]
    return one


def _server_info(reach: Reach, known: Mapping[str, ServerFacts | None]) -> dict[str, Any]:
    facts = known.get(reach.only.slug) if reach.only else None
    if facts is not None and facts.info.get("name") and facts.info.get("version"):
        return dict(facts.info)
    orgs = ", ".join(each.snapshot.org.slug for each in reach.each())
    title = f"MCP Hub: {reach.only.slug if reach.only else orgs}"
    return {"name": "mcphub", "title": title, "version": __version__}


def _instructions(reach: Reach, known: Mapping[str, ServerFacts | None], unconnected: Mapping[str, str]) -> str:
    if reach.only is not None:
        facts = known.get(reach.only.slug)
        said = [facts.instructions] if facts and facts.instructions else []
        return "\n".join(said + [WANTS_ACCOUNT.format(url) for url in unconnected.values()])
    blurbs = [f"- {slug}: {_blurb(facts, unconnected.get(slug, ''))}" for slug, facts in sorted(known.items())]
    if not blurbs:
        return ""
    names = "{organisation}__{server}__{name}" if reach.others else "{server}__{name}"
    return f"Tools and prompts are named {names}. Servers behind this hub:\n" + "\n".join(blurbs)


def _blurb(facts: ServerFacts | None, connect_at: str) -> str:
    if connect_at:
        return f"{_said(facts)} {WANTS_ACCOUNT.format(connect_at)}".strip()
    return _said(facts) if facts is not None else "not connected yet"


def _said(facts: ServerFacts | None) -> str:
    if facts is None:
        return ""
    text = " ".join((facts.instructions or str(facts.info.get("title") or facts.info.get("name") or "")).split())
    return text if len(text) <= BLURB_CHARS else text[: BLURB_CHARS - 1] + "…"
