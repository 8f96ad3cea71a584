"""All orgs of a person on one endpoint: names stand behind the slug of their org, and every call belongs to one.

What follows on a call (decision, record, connection, later rounds) knows its own org only. No I/O.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from gateway.calls import Refused
from gateway.failures import unknown
from gateway.readers import READERS
from gateway.router import Reach
from gateway.types import Request
from gateway.views import behind, unwrap
from policies.types import Kind
from upstreams.naming import SEPARATOR

NAMED: Final[Mapping[str, tuple[str, Kind]]] = {
    "tools/call": ("name", "tool"),
    "prompts/get": ("name", "prompt"),
    "resources/read": ("uri", "resource"),
}
REFS: Final[Mapping[str, tuple[str, Kind]]] = {
    "ref/prompt": ("name", "prompt"),
    "ref/resource": ("uri", "template"),
}


def narrowed(request: Request, opened: Reach) -> tuple[Request, Reach]:
    """The request as one org is asked it, and the reach there.

    A name without an org counts where exactly one of them has it. Raises `Refused` where several do.
    """
    orgs = {reach.snapshot.org.slug: reach for reach in opened.each()}
    addressed = _addressed(request, orgs)
    if addressed is not None:
        reach, params = addressed
        return replace(request, params=params, principal=reach.principal), reach
    able = [reach for reach in orgs.values() if _serves(request, reach)]
    if len(able) > 1:
        raise Refused(unknown(*_subject(request)))
    reach = able[0] if able else next(iter(orgs.values()))
    return replace(request, principal=reach.principal), reach


def _addressed(request: Request, orgs: Mapping[str, Reach]) -> tuple[Reach, dict[str, Any]] | None:
    """The reach that the name in a request names, with the parameters as they are there."""
    params = request.params
    if request.method in NAMED:
        member, kind = NAMED[request.method]
        found = _split(params.get(member), kind, orgs)
        return (found[0], {**params, member: found[1]}) if found else None
    ref = params.get("ref")
    if request.method == "completion/complete" and isinstance(ref, dict) and ref.get("type") in REFS:
        member, kind = REFS[ref["type"]]
        found = _split(ref.get(member), kind, orgs)
        return (found[0], {**params, "ref": {**ref, member: found[1]}}) if found else None
    return None


def _split(name: Any, kind: Kind, orgs: Mapping[str, Reach]) -> tuple[Reach, str] | None:
    """The org that a name begins with, and the name there; one that was cut is looked up."""
    if not isinstance(name, str):
        return None
    if kind in ("tool", "prompt"):
        org, separator, rest = name.partition(SEPARATOR)
    else:
        org, rest = unwrap(name)
        separator = org
    reach = orgs.get(org) if separator else None
    if reach is None:
        return None
    if behind(kind, org, rest) == name:
        return reach, rest
    return reach, next((each.public for each in reach.visible(kind) if behind(kind, org, each.public) == name), rest)


def _serves(request: Request, reach: Reach) -> bool:
    """Whether the request means something in this org that its principal may know of."""
    try:
        call = READERS[request.method](request.params, reach)
    except Refused:
        return False
    return reach.shows(call.target)


def _subject(request: Request) -> tuple[str, str]:
    noun, kind = NAMED.get(request.method, ("", "resource"))
    return kind, str(request.params.get(noun, ""))
