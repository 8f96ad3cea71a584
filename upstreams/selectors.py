"""What the rest of the hub reads of upstreams: specifications, catalogues, states and due work."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID

import structlog
from django.conf import settings
from django.db.models import Count, Q, Sum

from mcphub.core.keyring import KeyringError
from upstreams.claims import audience_of
from upstreams.credentials.presented import header_of
from upstreams.models import (
    HELD_BACK,
    CatalogueEntry,
    CredentialMode,
    Definition,
    DefinitionVersion,
    Upstream,
    UpstreamState,
)
from upstreams.reports import Standing
from upstreams.risk import Risk
from upstreams.secretfiles import mark, unpacked
from upstreams.shaping import Shape, shape_of
from upstreams.types import Era, ServerFacts, Transport, UpstreamSpec
from upstreams.variables import IN_ARGV, UndefinedVariable, fill, mentioned_names, secrets_in

SWITCH_OF: Final[Mapping[str, str]] = {
    "elicitation": "may_elicit",
    "sampling": "may_sample",
    "roots": "may_list_roots",
}
"""A client's capability → the column that says whether the upstream is offered it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CatalogueRecord:
    """One definition that `holder` ("" = everybody, or a principal id) has now; `body` is its JSON text.

    `name` is the original name, or the URI (template) of a resource. `enabled` is false as well when the
    whole upstream is switched off; `shape` is what the operator changes of it.
    """

    upstream_id: str
    upstream_slug: str
    holder: str
    kind: str
    name: str
    digest: str
    body: bytes
    risk: Risk
    enabled: bool
    held: bool
    shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class UpstreamHealth:
    """How one upstream is, for dashboards and `doctor`. `fault` says why it cannot even be tried."""

    id: str
    slug: str
    name: str
    enabled: bool
    state: str
    since: datetime
    era: str
    tools: int
    last_error: str
    fault: str


@dataclass(frozen=True, slots=True)
class Due:
    """What people or commands asked for and when: upstream id → the moment of asking."""

    refresh: Mapping[str, datetime]
    restart: Mapping[str, datetime]


class Unusable(Exception):
    """The row cannot be turned into a specification; the message is one sentence for the operator."""


def org_upstreams(org_id: Any) -> list[UpstreamSpec]:
    """Every upstream of the org that is switched on and usable, secrets opened and variables filled in.

    A row that is not usable is left out and logged; `config_fault` tells the operator why.
    """
    rows = Upstream.objects.for_org(org_id).filter(enabled=True, org__enabled=True).select_related("state")
    return list(_usable(rows))


def _usable(rows: Any) -> Iterator[UpstreamSpec]:
    for row in rows:
        try:
            yield spec_of(row)
        except Unusable as fault:
            log.warning("upstream_unusable", upstream=row.slug, fault=str(fault))


def config_fault(row: Upstream) -> str:
    """Why this row cannot be used as it is configured, in one sentence; "" when it can."""
    try:
        spec_of(row)
    except Unusable as fault:
        return str(fault)
    return ""


def spec_of(row: Upstream) -> UpstreamSpec:
    """The specification of one row. Raises `Unusable`."""
    if row.is_stdio and not stdio_allowed():
        raise Unusable("Commands are switched off on this installation (MCPHUB_ALLOW_STDIO).")
    try:
        return _spec(row)
    except UndefinedVariable as fault:
        raise Unusable(f"The variable ${{{fault.name}}} is not defined.") from None
    except KeyringError as fault:
        raise Unusable(f"Its secrets cannot be opened: {fault}.") from None


def _spec(row: Upstream) -> UpstreamSpec:
    limits = settings.HUB.limits
    values = variable_values(row)
    for name in secrets_in((row.command, *row.args), values, row.files or ()):
        raise Unusable(f"The secret ${{{name}}} stands in its command: {IN_ARGV}.")
    return UpstreamSpec(
        id=str(row.pk),
        org_id=str(row.org_id),
        slug=row.slug,
        name=row.name,
        revision=row.revision,
        transport=cast(Transport, row.transport),
        url=fill(row.url, values),
        command=fill(row.command, values),
        args=tuple(fill(part, values) for part in row.args),
        env=_filled(row.env, values),
        files=unpacked(row.files) if row.is_stdio else {},
        forward_headers=frozenset(row.forward_headers) - _filled_header(row),
        claims=cast(Any, row.claims),
        audience=audience_of(row.slug, fill(row.url, values)) if row.claims else "",
        headers=_own_headers(row, values),
        sharing=_sharing(row),
        era=cast(Any, row.state.era),
        connect_s=_or(row.connect_s, limits.connect_s),
        call_s=_or(row.call_s, limits.call_s),
        call_hard_s=_or(row.call_hard_s, limits.call_hard_s),
        heartbeat_s=_or(row.heartbeat_s, limits.heartbeat_s),
        discovery_s=_or(row.discovery_s, limits.discovery_s),
        egress_allow=tuple(row.egress_allow),
        idempotent=frozenset(row.idempotent),
        payload_mode=row.payload_mode or "redacted",
        aliases=(row.path_alias,) if row.path_alias else (),
        withheld=frozenset(name for name, switch in SWITCH_OF.items() if not getattr(row, switch)),
        credential_mode=cast(Any, row.credential_mode),
        credential_kind=cast(Any, row.credential_kind),
        key_header=row.key_header,
        key_format=row.key_format,
    )


def _sharing(row: Upstream) -> Any:
    """A connection is never shared where each person has an account, whatever the row says."""
    if row.credential_mode == CredentialMode.PER_USER and row.sharing in ("", "shared"):
        return "per-user"
    return row.sharing or ("shared" if row.is_stdio else "per-user")


def _own_headers(row: Upstream, values: Mapping[str, str]) -> dict[str, str]:
    """The operator's headers without the one that a credential fills: nothing else ever stands in for it."""
    taken = _filled_header(row)
    return {name: value for name, value in _filled(row.headers, values).items() if name.lower() not in taken}


def _filled_header(row: Upstream) -> frozenset[str]:
    """The header that a credential fills, in lower case; nothing where there is none."""
    if row.credential_mode == CredentialMode.NONE:
        return frozenset()
    return frozenset({header_of(row.credential_kind, row.key_header)})


def _filled(pairs: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    return {name: fill(value, values) for name, value in pairs.items()}


def _or(own: float | None, limit: float) -> float:
    return limit if own is None else own


def stdio_allowed() -> bool:
    """Whether this installation may start commands: as set, else in standalone only."""
    allowed: bool | None = settings.HUB.allow_stdio
    return settings.HUB.mode == "standalone" if allowed is None else allowed


def variable_values(row: Upstream) -> dict[str, str]:
    """The upstream's own variables over the built-in ones. Raises `KeyringError`."""
    values = {"HOME": os.path.expanduser("~"), **row.variables}
    if "DATA_DIR" not in values and "DATA_DIR" in mentioned_names(row.texts()):
        values["DATA_DIR"] = str(data_folder(row))
    if row.is_stdio:
        values |= {variable: mark(variable) for variable in row.files or ()}
    return values


def data_folder(row: Upstream) -> Path:
    """The folder that `${DATA_DIR}` names: one for each upstream, kept over restarts, made when first needed."""
    folder = Path(settings.HUB.data_dir) / "upstreams" / str(row.pk)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def org_catalogue(org_id: Any) -> list[CatalogueRecord]:
    """Everything that the org's upstreams offer now, by upstream, kind and name."""
    entries = (
        CatalogueEntry.objects.for_org(org_id)
        .order_by("definition__upstream__slug", "definition__kind", "definition__name")
        .values_list(
            "definition__upstream_id",
            "definition__upstream__slug",
            "holder",
            "definition__kind",
            "definition__name",
            "version__digest",
            "version__body",
            "version__risk",
            "definition__risk_override",
            "definition__enabled",
            "definition__upstream__enabled",
            "version__review",
            "definition__alias",
            "definition__described_as",
            "definition__arguments",
        )
    )
    return [
        CatalogueRecord(
            str(upstream),
            slug,
            holder,
            kind,
            name,
            digest,
            body.encode(),
            Risk(override or risk),
            on and whole_on,
            review in HELD_BACK,
            shape_of(body, *shape),
        )
        for upstream, slug, holder, kind, name, digest, body, risk, override, on, whole_on, review, *shape in entries
    ]


def org_health(org_id: Any) -> list[UpstreamHealth]:
    """How each upstream of the org is, by slug."""
    rows = Upstream.objects.for_org(org_id).select_related("state").annotate(tools=offered_tools())
    return [_health(row) for row in rows]


def offered_tools() -> Count:
    """How many tools an upstream lists now, for anybody; an annotation of `Upstream` rows."""
    return Count("definitions", filter=Q(definitions__kind="tool", definitions__entries__isnull=False), distinct=True)


def listed_tokens(row: Upstream) -> int:
    """What a model reads for the tools that an upstream lists now, as far as they are counted."""
    listed = row.definitions.filter(kind="tool", entries__isnull=False).values("pk")
    counted = DefinitionVersion.objects.filter(pk__in=Definition.objects.filter(pk__in=listed).values("current"))
    return int(counted.aggregate(all=Sum("tokens"))["all"] or 0)


def _health(row: Any) -> UpstreamHealth:
    return UpstreamHealth(
        id=str(row.pk),
        slug=row.slug,
        name=row.name,
        enabled=row.enabled,
        state=row.state.state,
        since=row.state.since,
        era=row.state.era,
        tools=row.tools,
        last_error=row.state.last_error,
        fault=config_fault(row),
    )


def due() -> Due:
    """What is asked for and not yet taken (`services.take_refresh`, `services.take_restart`)."""
    rows = UpstreamState.objects.filter(Q(refresh_due_at__isnull=False) | Q(restart_due_at__isnull=False))
    asked = list(rows.values_list("upstream_id", "refresh_due_at", "restart_due_at"))
    return Due(
        refresh={str(upstream): at for upstream, at, _ in asked if at},
        restart={str(upstream): at for upstream, _, at in asked if at},
    )


def standing(upstream_ids: Collection[str]) -> dict[str, Standing]:
    """How those upstreams were found last that were ever reached."""
    rows = UpstreamState.objects.filter(pk__in=map(UUID, upstream_ids)).exclude(era="")
    return {str(row.pk): Standing(_facts(row), row.state == UpstreamState.State.DOWN) for row in rows}


def _facts(row: UpstreamState) -> ServerFacts:
    return ServerFacts(
        era=cast(Era, "modern" if row.era == "both" else row.era),
        revision=row.protocol,
        capabilities=row.capabilities,
        info=row.server_info,
        instructions=row.instructions,
        sessionless=row.sessionless,
        both=row.era == "both",
    )
