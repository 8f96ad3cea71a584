"""An org's definitions, indexed for look-up by public name, by own name and by bare name. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from policies.types import Kind, Risk
from upstreams.shaping import Shape

MIRRORED: Final = b'"x-mcp-header"'


@dataclass(frozen=True, slots=True)
class Entry:
    """One definition that may be called: `name` is the upstream's own (for resources the URI, for
    templates the URI template), `public` what it is called on aggregates, `body` its JSON text as the
    operator shows it. `called` is what it is called among its upstream's own names, where that is not `name`,
    and `former` what it would be called on aggregates but for that: calls under its old names go on to work.
    `holder` is "" or the principal whose credential showed it; `shape` is there where an operator changes arguments.
    """

    kind: Kind
    upstream_id: str
    upstream: str
    name: str
    public: str
    body: bytes
    risk: Risk
    holder: str = ""
    called: str = ""
    former: str = ""
    shape: Shape | None = None

    @property
    def own(self) -> str:
        """What it is called where its upstream's names stand un-prefixed."""
        return self.called or self.name

    @property
    def mirrors(self) -> bool:
        """Whether the tool may have arguments that modern clients repeat in `Mcp-Param-*` headers."""
        return MIRRORED in self.body


class Catalogue:
    """Immutable. Personal entries (of per-user upstreams) are seen by their holder only.

    `listed` are the (upstream id, holder) pairs of whom it is known what their own account is offered: that, and
    nothing else of the upstream. Others see what was found without an account, and by name the tools and prompts that
    others have, so that there is something to connect for. `mirrors` says that some tool's arguments may have to be
    repeated in headers.
    """

    def __init__(self, entries: Iterable[Entry], listed: frozenset[tuple[str, str]] = frozenset()) -> None:
        self.mirrors = False
        self._listed = listed
        self._listed_holders: Final = frozenset(holder for _, holder in listed)
        shared: list[Entry] = []
        personal: dict[str, list[Entry]] = {}
        for entry in entries:
            self.mirrors = self.mirrors or entry.mirrors
            (personal.setdefault(entry.holder, []) if entry.holder else shared).append(entry)
        self._shared: Final = _Index([*shared, *_offered(shared, personal)])
        self._personal: Final = {holder: _Index(own) for holder, own in personal.items()}

    def has_personal(self, holder: str) -> bool:
        """Whether this principal has entries of its own."""
        return holder in self._personal or holder in self._listed_holders

    def everything(self, kind: Kind) -> list[Entry]:
        """All entries of a kind, everybody's personal ones too."""
        indexes = (self._shared, *self._personal.values())
        return [entry for index in indexes for entry in index.kinds.get(kind, ())]

    def public(self, kind: Kind, name: str, holder: str) -> Entry | None:
        """The entry with this public name."""
        own = self._personal.get(holder)
        return (own and own.public.get((kind, name))) or self._to(holder, self._shared.public.get((kind, name)))

    def own(self, upstream_id: str, kind: Kind, name: str, holder: str) -> Entry | None:
        """The entry that this upstream itself calls `name`."""
        own = self._personal.get(holder)
        key = (upstream_id, kind, name)
        return (own and own.own.get(key)) or self._to(holder, self._shared.own.get(key))

    def _to(self, holder: str, entry: Entry | None) -> Entry | None:
        """An entry for everybody as this principal has it: not where they have their own list."""
        if entry is None or not self._listed or (entry.upstream_id, holder) not in self._listed:
            return entry
        return None

    def called(self, upstream_id: str, kind: Kind, name: str, holder: str) -> Entry | None:
        """The entry of this upstream that clients are listed as `name`, or that the upstream calls so."""
        own = self._personal.get(holder)
        key = (upstream_id, kind, name)
        renamed = (own and own.renamed.get(key)) or self._shared.renamed.get(key)
        return renamed or self.own(upstream_id, kind, name, holder)

    def bare(self, kind: Kind, name: str, holder: str) -> Sequence[Entry]:
        """Every entry called `name` by its own upstream or an alias, over all upstreams."""
        own = self._personal.get(holder)
        shared = self._for(holder, self._shared.bare.get((kind, name), ()))
        return (*shared, *(own.bare.get((kind, name), ()) if own else ()))

    def _for(self, holder: str, shared: Sequence[Entry]) -> Sequence[Entry]:
        return [entry for entry in shared if self._to(holder, entry)] if self._listed else shared

    def listed(self, kind: Kind, holder: str, upstream_id: str = "") -> list[Entry]:
        """Entries of a kind, of one upstream or all, in the order of their public names."""
        found = list(self._for(holder, self._shared.kinds.get(kind, ())))
        if (own := self._personal.get(holder)) is not None:
            found = sorted([*found, *own.kinds.get(kind, ())], key=_by_public)
        return [entry for entry in found if not upstream_id or entry.upstream_id == upstream_id]


def _offered(shared: Iterable[Entry], personal: Mapping[str, Sequence[Entry]]) -> Iterable[Entry]:
    """Each tool and prompt that somebody has under their own account and that is not known to everybody.

    Resources are not among them: their names are their owners' business.
    """
    known = {(entry.upstream_id, entry.kind, entry.name) for entry in shared}
    for _, entries in sorted(personal.items()):
        for entry in entries:
            key = (entry.upstream_id, entry.kind, entry.name)
            if entry.kind in ("tool", "prompt") and key not in known:
                known.add(key)
                yield replace(entry, holder="")


class _Index:
    def __init__(self, entries: Sequence[Entry]) -> None:
        self.public: Final[Mapping[tuple[Kind, str], Entry]] = MappingProxyType(
            {
                **{(entry.kind, entry.former): entry for entry in entries if entry.former},
                **{(entry.kind, entry.public): entry for entry in reversed(entries)},
            }
        )
        self.own: Final[Mapping[tuple[str, Kind, str], Entry]] = MappingProxyType(
            {(entry.upstream_id, entry.kind, entry.name): entry for entry in entries}
        )
        self.renamed: Final[Mapping[tuple[str, Kind, str], Entry]] = MappingProxyType(
            {(entry.upstream_id, entry.kind, entry.called): entry for entry in entries if entry.called}
        )
        bare: dict[tuple[Kind, str], list[Entry]] = {}
        kinds: dict[Kind, list[Entry]] = {}
        for entry in sorted(entries, key=_by_public):
            for name in {entry.own, entry.name}:
                bare.setdefault((entry.kind, name), []).append(entry)
            kinds.setdefault(entry.kind, []).append(entry)
        self.bare: Final = bare
        self.kinds: Final = kinds


def _by_public(entry: Entry) -> tuple[str, str]:
    return entry.public, entry.upstream
