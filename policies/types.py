"""The values that policy is made of. Pure: no Django, no I/O."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

import msgspec

from mcphub.core.principal import NO_ATTRIBUTES
from upstreams.risk import Risk as Risk

Effect = Literal["allow", "deny", "ask"]
Kind = Literal["tool", "prompt", "resource", "template"]
Access = Literal["none", "read-only", "all", "custom"]
AutoGrant = Literal["none", "read-only", "all"]
KINDS: Final[tuple[Kind, ...]] = ("tool", "prompt", "resource", "template")


@dataclass(frozen=True, slots=True)
class Rule:
    """One ordered line of policy as its author wrote it; the lowest priority number comes first.

    `roles`, `upstreams`, `tools`, `applications` are globs (`*`, `?`), empty means any; `condition` is CEL.
    """

    id: str
    name: str
    priority: int
    effect: Effect
    kinds: tuple[Kind, ...] = ("tool",)
    roles: tuple[str, ...] = ()
    upstreams: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    risks: tuple[Risk, ...] = ()
    applications: tuple[str, ...] = ()
    condition: str = ""
    reason: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Grant:
    """A role's access to one upstream; `tools` holds explicit per-definition switches, which beat `access`."""

    role: str
    upstream: str
    access: Access
    tools: Mapping[tuple[Kind, str], bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """A role: what it reaches on upstreams that no grant of its own mentions (auto-grant)."""

    name: str
    auto_grant: AutoGrant = "none"


@dataclass(frozen=True, slots=True)
class ToolsetSpec:
    """A named subset: globs over public names, and whether clients get a search in place of the list."""

    slug: str
    name: str
    tools: tuple[str, ...]
    search: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """What a call would reach: `name` is the original tool or prompt name, or the resource URI."""

    kind: Kind
    upstream: str
    name: str
    risk: Risk


class CallRequest(msgspec.Struct, frozen=True, eq=False):
    """Everything a decision depends on. `arguments` is called at most once, and only if a condition needs it."""

    target: Target
    roles: frozenset[str]
    application: str = ""
    principal: Mapping[str, Any] = NO_ATTRIBUTES
    client: Mapping[str, Any] = NO_ATTRIBUTES
    arguments: Callable[[], Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class TraceLine:
    """Why one rule did or did not match; `rule` is its id, `name` what people call it.

    `failure` says what could not be evaluated, so that the line counted against the caller.
    """

    rule: str
    name: str
    matched: bool
    why: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome with its reason; `rule` is the id of the rule behind it, or "" for the default."""

    effect: Effect
    rule: str
    reason: str
    trace: tuple[TraceLine, ...] = ()


class Listing(StrEnum):
    """Whether a definition may be shown: callable for some arguments, or for none."""

    SHOWN = "shown"
    HIDDEN = "hidden"
