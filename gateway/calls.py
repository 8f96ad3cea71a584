"""What a client's request means as a call: its target in policy's words and its parameters in the upstream's."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from gateway.errors import INVALID_PARAMS
from gateway.failures import unknown
from gateway.router import Reach, target_of
from gateway.uris import is_normal
from gateway.views import APP_SCHEME, app_of
from policies.engine import set_by_operator
from policies.types import Decision, Kind, Risk, Target
from upstreams.errors import RpcError
from upstreams.types import UpstreamSpec

READ_HERE: Final = frozenset(
    {"_meta", "argument", "arguments", "inputResponses", "name", "ref", "requestState", "taskId", "type", "uri"}
)
"""Members of parameters that the hub decides by."""


class Refused(Exception):
    """The request cannot be a call: answered with this JSON-RPC error."""

    def __init__(self, error: RpcError) -> None:
        super().__init__(error.message)
        self.error = error


class Call(msgspec.Struct, frozen=True, eq=False):
    """One call, ready to be decided: `arguments` is the one frozen object that everything downstream uses.

    `refused` names an argument that the client gave and may not choose.
    """

    method: str
    target: Target
    spec: UpstreamSpec
    params: dict[str, Any]
    arguments: Mapping[str, Any] = {}
    shown_as: str = ""
    resend: bool = False
    cacheable: bool = False
    refused: str = ""


def check_spelling(members: Mapping[str, Any]) -> None:
    """Raises `Refused` for a member that differs only in case from one that the hub decides by.

    Some servers take `Name` for `name` (CVE-2026-27896): policy would see the one, the server the other.
    """
    if members.keys() <= READ_HERE:
        return
    for name in members:
        if name not in READ_HERE and (plain := _folded(name)) in FOLDED:
            raise Refused(RpcError(INVALID_PARAMS, f"{name[:80]!r} must be written {FOLDED[plain]!r}"))


def _folded(name: str) -> str:
    return name.casefold() if len(name) < 80 else name


FOLDED: Final = {_folded(name): name for name in READ_HERE}


def _have_twins(arguments: Mapping[str, Any]) -> bool:
    """Whether the names of two arguments differ only in case."""
    return len(set(map(str.casefold, arguments))) != len(arguments)


def _check_twins(arguments: Mapping[str, Any], definition: bytes) -> None:
    """Raises `Refused` unless the tool declares both of every two that differ only in case."""
    schema = msgspec.json.decode(definition).get("inputSchema")
    declared = schema.get("properties") if isinstance(schema, dict) else None
    count = Counter(map(str.casefold, arguments))
    twins = {name for name in arguments if count[name.casefold()] > 1}
    if not isinstance(declared, dict) or not twins <= declared.keys():
        raise Refused(RpcError(INVALID_PARAMS, "Two arguments have names that differ only in case"))


def tools_call(params: Mapping[str, Any], reach: Reach) -> Call:
    """`tools/call`: by public, own or bare name."""
    check_spelling(params)
    name, arguments = _text(params, "name"), _object(params, "arguments")
    entry = reach.find("tool", name)
    if entry is None:
        raise Refused(unknown("tool", name))
    shape, refused = entry.shape, ""
    if shape is not None:
        refused = shape.refused(arguments)
        arguments = arguments if refused else shape.filled(arguments)
    if _have_twins(arguments) and reach.is_visible(entry):  # visibility is a whole question to policy, 10 µs
        _check_twins(arguments, entry.body)
    if shape is not None and not refused:
        arguments = {**arguments, **shape.fixed}
    spec = reach.snapshot.specs[entry.upstream_id]
    own = {**params, "name": entry.name}
    if "arguments" in params or arguments:
        own["arguments"] = arguments
    return Call(
        "tools/call",
        target_of(entry),
        spec,
        own,
        arguments,
        shown_as=name,
        resend=entry.name in spec.idempotent,
        refused=refused,
    )


def decision_on(call: Call, reach: Reach) -> Decision:
    """What policy says to the call; an argument that the client may not choose closes it before any rule."""
    if call.refused:
        return reach.closed(call.target) or set_by_operator(call.refused)
    return reach.decide(call.target, lambda: call.arguments)


def prompts_get(params: Mapping[str, Any], reach: Reach) -> Call:
    """`prompts/get`: as a tool, with arguments of strings."""
    check_spelling(params)
    name, arguments = _text(params, "name"), _object(params, "arguments")
    entry = reach.find("prompt", name)
    if entry is None:
        raise Refused(unknown("prompt", name))
    spec = reach.snapshot.specs[entry.upstream_id]
    own = {**params, "name": entry.name}
    return Call("prompts/get", target_of(entry), spec, own, arguments, shown_as=name, resend=True)


def resources_read(params: Mapping[str, Any], reach: Reach) -> Call:
    """`resources/read`: by URI, wrapped or not, listed or matched by a template."""
    check_spelling(params)
    shown = _text(params, "uri")
    spec, uri = owner_of(reach, shown)
    if spec is None or _is_off(reach, spec, uri) or not _is_plain(reach, spec, uri):
        raise Refused(unknown("resource", shown))
    target = Target("resource", spec.slug, uri, Risk.READ)
    own = {**params, "uri": uri}
    return Call("resources/read", target, spec, own, {"uri": uri}, shown_as=shown, resend=True, cacheable=True)


def _is_off(reach: Reach, spec: UpstreamSpec, uri: str) -> bool:
    """Whether `uri` is a resource that is switched off, or one that only a template does which is.

    An upstream answers such URIs all the same, and a client may name any URI; a listed resource is its own.
    """
    snapshot = reach.snapshot
    if (spec.id, uri) in snapshot.off:
        return True
    templates = snapshot.off_templates.get(spec.id, ())
    if not any(template_matches(template, uri) for template in templates):
        return False
    return all(entry.upstream_id != spec.id for entry in reach.resources(uri))


def _is_plain(reach: Reach, spec: UpstreamSpec, uri: str) -> bool:
    """Whether `uri` is written as rules and switches would write it, or just as its server lists it."""
    return is_normal(uri) or any(entry.upstream_id == spec.id for entry in reach.resources(uri))


def completion_complete(params: Mapping[str, Any], reach: Reach) -> Call:
    """`completion/complete`: routed by its `ref`, a prompt or a resource template."""
    check_spelling(params)
    ref = _object(params, "ref")
    check_spelling(ref)
    if ref.get("type") == "ref/prompt":
        kind, member = "prompt", "name"
    elif ref.get("type") == "ref/resource":
        kind, member = "template", "uri"
    else:
        raise Refused(RpcError(INVALID_PARAMS, "ref must be a prompt or a resource"))
    arguments = _object(params, "argument")
    target, spec, own_name = _referred(reach, kind, _text(ref, member))  # type: ignore[arg-type]  # two literals above
    own = {**params, "ref": {**ref, member: own_name}}
    return Call("completion/complete", target, spec, own, arguments, shown_as=str(ref[member]), resend=True)


def _referred(reach: Reach, kind: Kind, name: str) -> tuple[Target, UpstreamSpec, str]:
    spec, original = reach.unwrapped(name) if kind == "template" else (None, name)
    entry = (
        reach.snapshot.catalogue.own(spec.id, kind, original, reach.principal.id)
        if spec
        else _by_own_name(reach, kind, name)
        if kind == "template"
        else reach.find(kind, name)
    )
    if entry is None:
        raise Refused(unknown("prompt" if kind == "prompt" else "resource", name))
    return target_of(entry), reach.snapshot.specs[entry.upstream_id], entry.name


def _by_own_name(reach: Reach, kind: Kind, name: str) -> Any:
    if reach.only is not None:
        return reach.find(kind, name)
    visible = [
        entry for entry in reach.snapshot.catalogue.bare(kind, name, reach.principal.id) if reach.is_visible(entry)
    ]
    return visible[0] if len(visible) == 1 else None


def owner_of(reach: Reach, shown: str) -> tuple[UpstreamSpec | None, str]:
    """The upstream that serves a URI on this route and the URI there, or (None, URI)."""
    if reach.only is not None:
        return (reach.only if reach.includes(reach.only) else None), shown
    spec, uri = reach.unwrapped(shown)
    if spec is not None or uri != shown:
        return spec, uri if spec else shown
    if listed := reach.resources(shown):
        return (reach.snapshot.specs[listed[0].upstream_id] if len(listed) == 1 else None), shown
    if shown.startswith(APP_SCHEME):
        named = {entry.upstream_id for entry in reach.visible("tool") if app_of(entry) == shown}
        if named:
            return (reach.snapshot.specs[named.pop()] if len(named) == 1 else None), shown
    matching = {entry.upstream_id for entry in reach.visible("template") if template_matches(entry.name, shown)}
    if len(matching) == 1:
        return reach.snapshot.specs[matching.pop()], shown
    return None, shown


def template_matches(template: str, uri: str) -> bool:
    """Whether `uri` could be an expansion of an RFC 6570 template: its literal parts appear in order.

    Linear in both lengths, whatever the template: no regular expression is made of foreign text.
    """
    literals = _literals(template)
    if len(literals) == 1:
        return template == uri
    if not uri.startswith(literals[0]) or not uri.endswith(literals[-1]):
        return False
    at = len(literals[0])
    end = len(uri) - len(literals[-1])
    for literal in literals[1:-1]:
        found = uri.find(literal, at, end)
        if found < 0:
            return False
        at = found + len(literal)
    return at <= end


def _literals(template: str) -> list[str]:
    parts, rest = [], template
    while "{" in rest:
        literal, _, rest = rest.partition("{")
        parts.append(literal)
        rest = rest.partition("}")[2]
    return [*parts, rest]


READERS: Final[dict[str, Callable[[Mapping[str, Any], Reach], Call]]] = {
    "tools/call": tools_call,
    "prompts/get": prompts_get,
    "resources/read": resources_read,
    "completion/complete": completion_complete,
}


def _text(params: Mapping[str, Any], name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str):
        raise Refused(RpcError(INVALID_PARAMS, f"{name} must be a string"))
    return value


def _object(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = params.get(name, {})
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused(RpcError(INVALID_PARAMS, f"{name} must be an object"))
    return value
