"""From a public name to an upstream and its own name, within what one route opens to one principal."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from gateway.catalogue import Entry
from gateway.snapshot import OrgSnapshot
from gateway.subsets import NAMED, Subset, subset_of
from gateway.types import NotFound, Route
from gateway.views import unwrap
from mcphub.core.principal import NO_ATTRIBUTES, Principal
from policies.engine import attributes_read, decide, gate, listing, view_facts
from policies.facts import client_facts, request_for
from policies.types import KINDS, CallRequest, Decision, Kind, Listing, Risk, Target
from upstreams.naming import SEPARATOR
from upstreams.types import ClientFacts, UpstreamSpec

NOTHING: Final = Target("tool", "", "", Risk.READ)

Arguments = Callable[[], Mapping[str, Any]]


class Reach(msgspec.Struct, frozen=True, eq=False):
    """What one request may reach: the org's snapshot, seen by one principal, on one route.

    `only` is the upstream of a single-upstream route, where its own names stand un-prefixed; `subset` what a toolset
    or the client's own globs leave of the route. `others` are the further orgs of a credential for all of a person's:
    such a reach is listed and described as a whole, but every call is first narrowed to one org (`gateway.union`).
    """

    snapshot: OrgSnapshot
    principal: Principal
    client: ClientFacts
    only: UpstreamSpec | None = None
    subset: Subset | None = None
    others: "tuple[Reach, ...]" = ()

    def each(self) -> "tuple[Reach, ...]":
        """The reach in every org by itself."""
        return (replace(self, others=()), *self.others) if self.others else (self,)

    @property
    def own_names(self) -> bool:
        """Whether names stand as the upstream gave them."""
        return self.only is not None

    def specs(self) -> Iterable[UpstreamSpec]:
        """The upstreams of this route."""
        if self.others:
            return chain.from_iterable(reach.specs() for reach in self.each())
        specs = (self.only,) if self.only else self.snapshot.specs.values()
        return specs if self.subset is None else [spec for spec in specs if self.includes(spec)]

    def includes(self, spec: UpstreamSpec) -> bool:
        """Whether anything of this upstream is left on this route."""
        return self.subset is None or self.subset.includes(self.snapshot.catalogue, spec.id, self.principal.id)

    def has(self, entry: Entry) -> bool:
        """Whether this route, whoever asks, has the entry."""
        if self.subset is None:
            return True
        if entry.kind in NAMED:
            return self.subset.names(entry)
        return self.subset.includes(self.snapshot.catalogue, entry.upstream_id, self.principal.id)

    def request(self, target: Target, arguments: Arguments | None = None) -> CallRequest:
        """The policy question for `target`; without `arguments` it is asked for a list."""
        return request_for(
            self.principal,
            target,
            facts=self.snapshot.facts_of(self.principal),
            client=client_facts(self.client) if self.snapshot.ruleset.reads_client else NO_ATTRIBUTES,
            arguments=arguments,
        )

    def is_visible(self, entry: Entry) -> bool:
        """Whether the principal may know of this definition, on this route."""
        return self.has(entry) and self.shows(target_of(entry))

    def shows(self, target: Target) -> bool:
        """Whether a call to `target` could be allowed for some arguments."""
        if gate(target, self.principal.scope) is not None:
            return False
        return listing(self.snapshot.ruleset, self.request(target)) is Listing.SHOWN

    def decide(self, target: Target, arguments: Arguments) -> Decision:
        """The decision on this call; the key's own scope comes before every rule."""
        return self.closed(target) or decide(self.snapshot.ruleset, self.request(target, arguments))

    def closed(self, target: Target) -> Decision | None:
        """The denial by a gate that no rule opens, if one is closed."""
        return gate(target, self.principal.scope)

    def find(self, kind: Kind, name: str) -> Entry | None:
        """The entry that this route calls `name`: its public name, or a bare name that only one visible has."""
        entry = self._called(kind, name)
        return entry if entry is None or self.has(entry) else None

    def _called(self, kind: Kind, name: str) -> Entry | None:
        catalogue, holder = self.snapshot.catalogue, self.principal.id
        if self.only is not None:
            return catalogue.called(self.only.id, kind, name, holder)
        entry = catalogue.public(kind, name, holder)
        if entry is not None or SEPARATOR in name:
            return entry  # a bare name that looks public would tell whether the public one is hidden or absent
        visible = [entry for entry in catalogue.bare(kind, name, holder) if self.is_visible(entry)]
        return visible[0] if len(visible) == 1 else None

    def visible(self, kind: Kind) -> list[Entry]:
        """Every definition of a kind that the principal may know of on this route."""
        upstream_id = self.only.id if self.only else ""
        listed = self.snapshot.catalogue.listed(kind, self.principal.id, upstream_id)
        if kind == "resource":
            listed = self._as_of_now(listed)
        return [entry for entry in listed if self.is_visible(entry)]

    def resources(self, uri: str) -> list[Entry]:
        """The visible resources with this URI, over all upstreams of the route."""
        snapshot, holder = self.snapshot, self.principal.id
        stored = [each for each in snapshot.catalogue.bare("resource", uri, holder) if self._live(each) is None]
        live = [each for each in snapshot.live.called(uri) if self._is_current(each)]
        return [entry for entry in (*stored, *live) if self.is_visible(entry)]

    def _as_of_now(self, stored: Iterable[Entry]) -> list[Entry]:
        """With the lists of those upstreams in place that were listed live."""
        live = [
            entry
            for spec in self.specs()
            for entry in (self._listed_live(spec) or {}).values()
            if (spec.id, entry.name) not in self.snapshot.off
        ]
        return [*(each for each in stored if self._live(each) is None), *live]

    def _listed_live(self, spec: UpstreamSpec) -> Mapping[str, Entry] | None:
        return self.snapshot.live.list_of(spec.id, live_holder(spec, self.principal))

    def _live(self, entry: Entry) -> Mapping[str, Entry] | None:
        return (
            self._listed_live(self.snapshot.specs[entry.upstream_id])
            if entry.upstream_id in self.snapshot.specs
            else None
        )

    def _is_current(self, entry: Entry) -> bool:
        spec = self.snapshot.specs.get(entry.upstream_id)
        mine = spec is not None and entry.holder == live_holder(spec, self.principal)
        return mine and (entry.upstream_id, entry.name) not in self.snapshot.off

    def unwrapped(self, uri: str) -> tuple[UpstreamSpec | None, str]:
        """The upstream that a wrapped URI names, and its own URI."""
        slug, original = unwrap(uri)
        if not slug or self.only:
            return None, uri
        spec = self.snapshot.by_slug.get(slug)
        return (spec if spec is not None and self.includes(spec) else None), original

    def facts_read(self) -> str:
        """Whatever of the principal any list depends on, as text."""
        ruleset = self.snapshot.ruleset
        return view_facts(attributes_read(ruleset), self.request(NOTHING))

    def sees(self, spec: UpstreamSpec) -> bool:
        """Whether the principal may know of the upstream: it reads there whatever the name, or sees a definition."""
        if self.others:
            return any(spec.id in reach.snapshot.specs and reach.sees(spec) for reach in self.each())
        if not self.includes(spec):
            return False
        if self.shows(Target("tool", spec.slug, "*", Risk.READ)):
            return True
        listed = (self.snapshot.catalogue.listed(kind, self.principal.id, spec.id) for kind in KINDS)
        return any(self.is_visible(entry) for entries in listed for entry in entries)


def reach(snapshot: OrgSnapshot, principal: Principal, route: Route, client: ClientFacts, single: str = "") -> Reach:
    """What `route` opens to the principal. `single` is the slug that stands on `/mcp` alone. Raises `NotFound`."""
    if route.org and route.org != snapshot.org.slug:
        raise NotFound
    slug = route.upstream or (single if route.kind == "aggregate" else "")
    spec = snapshot.by_slug.get(slug)
    if slug and spec is None:
        raise NotFound
    opened = Reach(snapshot, principal, client, spec)
    if spec is not None and not opened.sees(spec):
        raise NotFound
    if not route.toolset and not route.tools:
        return opened
    return msgspec.structs.replace(opened, subset=subset_of(snapshot, route, own_names=opened.own_names))


def live_holder(spec: UpstreamSpec, principal: Principal) -> str:
    """Who is listed the same resources on this upstream: "" for everybody."""
    return "" if spec.sharing == "shared" else principal.id


def target_of(entry: Entry) -> Target:
    """What policy calls the entry."""
    return Target(entry.kind, entry.upstream, entry.name, entry.risk)
