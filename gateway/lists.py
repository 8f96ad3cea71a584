"""`tools/list` and its kin: one principal's view, cached by everything that it depends on, paged by name."""

from collections.abc import Mapping
from typing import Any, Final

from gateway import finding
from gateway.errors import INVALID_PARAMS
from gateway.router import Reach
from gateway.types import Request
from gateway.views import NOTHING_WRAPPED, View, Wrapped, app_of, build, colliding, page, united
from mcphub.core.keyring import KeyringError, keyring
from policies.types import Kind
from upstreams.errors import RpcError
from upstreams.types import MODERN

KIND_OF: Final[dict[str, Kind]] = {
    "tools/list": "tool",
    "prompts/list": "prompt",
    "resources/list": "resource",
    "resources/templates/list": "template",
}
MAX_VIEWS: Final = 2_000


def answer(
    request: Request, reach: Reach, *, page_size: int, ttl_ms: int, notes: Mapping[str, Any]
) -> bytes | RpcError:
    """One page of the list that `request` asks for; `notes` go into its `_meta`."""
    kind = KIND_OF[request.method]
    view = view_of(reach, kind, request.revision)
    last = ""
    if (cursor := request.params.get("cursor")) not in (None, ""):
        try:
            last = _opened(cursor, view, request)
        except (KeyringError, ValueError, TypeError, AttributeError):
            return RpcError(INVALID_PARAMS, "The cursor is not valid here.")
    fragments, more = view.page_after(last, page_size)
    following = _sealed(more, view, request) if more else ""
    return page(kind, fragments, following, era=request.era, ttl_ms=ttl_ms, notes=notes)


def view_of(reach: Reach, kind: Kind, revision: str) -> View:
    """The principal's view of a kind on this route, from the cache of the org's snapshot if it is there."""
    if reach.others:
        return _united(reach, kind, revision)
    views = reach.snapshot.views
    key = view_key(reach, kind, revision)
    found = views.get(key)
    if found is None:
        if len(views) >= MAX_VIEWS:
            views.clear()
        wrapped = _wrapped(reach, kind, revision)
        found = views[key] = (
            finding.view(reach)
            if kind == "tool" and finding.is_asked(reach)
            else build(kind, reach.visible(kind), own_names=reach.own_names, revision=revision, wrapped=wrapped)
        )
    return found


def _united(reach: Reach, kind: Kind, revision: str) -> View:
    """The views of all its orgs as one."""
    views = [(each.snapshot.org.slug, view_of(each, kind, revision)) for each in reach.each()]
    key = ("all orgs", kind, *((org, view.digest) for org, view in views))
    kept = reach.snapshot.views
    if (found := kept.get(key)) is None:
        if len(kept) >= MAX_VIEWS:
            kept.clear()
        found = kept[key] = united(kind, views)
    return found


def _wrapped(reach: Reach, kind: Kind, revision: str) -> Wrapped:
    """The resources whose URI is not unique among those listed and those that tools name as their apps."""
    if reach.own_names or kind not in ("resource", "tool"):
        return NOTHING_WRAPPED
    apps = {(entry.upstream_id, uri) for entry in reach.visible("tool") if (uri := app_of(entry))}
    if kind == "tool":
        return view_of(reach, "resource", revision).wrapped if apps else NOTHING_WRAPPED
    return colliding({*apps, *((entry.upstream_id, entry.name) for entry in reach.visible("resource"))})


def view_key(reach: Reach, kind: Kind, revision: str) -> tuple[Any, ...]:
    """Everything but the snapshot itself that a view depends on (DESIGN §5, views)."""
    principal, snapshot = reach.principal, reach.snapshot
    return (
        kind,
        reach.only.id if reach.only else "",
        reach.subset.key if reach.subset else None,
        revision == MODERN,
        principal.roles,
        principal.scope,
        principal.application,
        principal.id if snapshot.catalogue.has_personal(principal.id) or snapshot.live.version else "",
        snapshot.live.version,
        reach.facts_read(),
    )


def _sealed(last: str, view: View, request: Request) -> str:
    return keyring().seal("cursor", f"{view.digest} {last}".encode(), _bound_to(request))


def _opened(cursor: str, view: View, request: Request) -> str:
    digest, _, last = keyring().open("cursor", cursor, _bound_to(request)).decode().partition(" ")
    if digest != view.digest:
        raise ValueError("the list has changed")
    return last


def _bound_to(request: Request) -> bytes:
    return f"{request.principal.id} {request.route.bound} {request.method}".encode()
