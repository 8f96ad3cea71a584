"""On whose behalf a request runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

NO_ATTRIBUTES: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class OrgRef:
    """An org by id (UUID text) and slug."""

    id: str
    slug: str


@dataclass(frozen=True, slots=True)
class KeyScope:
    """What an API key is narrowed to: comma-separable globs over upstream slugs and original names.

    An empty tuple does not narrow.
    """

    upstreams: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, in one org. Made only from a proven credential.

    `id` is stable and unique over the installation: `user:<uuid>`, `key:<uuid>` (service key) or
    `open` (`up --no-auth`). Two keys of one person share the principal id and differ in `credential`: the public id
    of an API key, or `<kind>:<id>` of what another prover has proved (`gateway.proofs`). `others` is the same person
    in further orgs, for a credential of several on an endpoint that names none.
    """

    id: str
    kind: Literal["person", "service", "open"]
    label: str
    org: OrgRef
    roles: frozenset[str]
    credential: str = ""
    application: str = ""
    scope: KeyScope = KeyScope()
    attributes: Mapping[str, Any] = field(default_factory=lambda: NO_ATTRIBUTES)
    user_id: str | None = None
    others: "tuple[Principal, ...]" = ()
