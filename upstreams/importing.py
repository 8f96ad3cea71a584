"""Importing `mcpServers`: what it would do, with slugs proposed where names clash; nothing is written here."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mcphub.core.keyring import KeyringError
from mcphub.core.names import RESERVED
from upstreams import naming
from upstreams.models import Upstream
from upstreams.serversfile import EntryReader, Remark, entries_of, fields_of


@dataclass(frozen=True, slots=True)
class Planned:
    """One upstream of the document. `fields` are columns of `Upstream`; secrets are inside: no repr.

    `renamed` says that the slug is not the one that the name would give. `exists` is the id of a row that is
    the same already.
    """

    name: str
    slug: str
    renamed: bool
    fields: Mapping[str, Any] = field(repr=False)
    exists: str = ""


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What an import would do. With `faults` nothing may be applied; `warnings` are for people to read."""

    org_id: str
    upstreams: tuple[Planned, ...] = ()
    faults: tuple[Remark, ...] = ()
    warnings: tuple[Remark, ...] = ()


def plan_import(
    org: Any,
    document: str | bytes,
    *,
    environment: Mapping[str, str] | None = None,
    source: str = "",
    trust_hosts: bool = False,
) -> ImportPlan:
    """What importing `document` (JSON text with `mcpServers`) into `org` would do; nothing is written.

    `environment` gives values to `${VARIABLES}` (names that begin with MCPHUB_ never). `source` is the file that
    the rows will belong to: rows of this or an earlier file keep their slugs under the same name, and the other
    rows of files do not count. `trust_hosts` allows each written host and port for its upstream, for documents
    from the command line.
    """
    org_id = str(getattr(org, "id", org))
    faults: list[Remark] = []
    warnings: list[Remark] = []
    entries = entries_of(document, faults)
    stored = Upstream.objects.for_org(org_id)
    rows = [row for row in stored if not source or not row.source or row.name in entries]
    planned: list[Planned] = []
    for name, entry in entries.items():
        reader = EntryReader(f"mcpServers.{name}", entry, faults, warnings)
        item = _place(name, fields_of(reader, environment or {}, trust_hosts), rows, planned, source)
        if item.renamed:
            warnings.append(
                Remark(reader.place, f"is called “{item.slug}” here: “{naming.slug_from(name)}” is taken")
            )
        planned.append(item)
    return ImportPlan(org_id, tuple(planned), tuple(faults), tuple(warnings))


def _place(
    name: str, fields: dict[str, Any], rows: Sequence[Upstream], planned: Sequence[Planned], source: str
) -> Planned:
    """Find the slug: the row's own when this very entry is there already, else a free one."""
    own = next((row for row in rows if row.name == name and bool(row.source) == bool(source)), None)
    if own is not None and (source or same_as(own, fields)):
        return Planned(name, own.slug, False, {**fields, "path_alias": own.path_alias}, str(own.pk))
    taken = {row.slug for row in rows} | {item.slug for item in planned}
    slug = naming.free_slug(name, taken)
    aliases = {row.path_alias for row in rows} | {item.fields["path_alias"] for item in planned}
    alias = name if _is_alias(name, aliases | taken) else ""
    return Planned(name, slug, slug != naming.slug_from(name), {**fields, "path_alias": alias})


def _is_alias(name: str, taken: Collection[str]) -> bool:
    """Whether `/{name}/mcp` can lead to an upstream whose slug had to differ from its name."""
    plain = naming.slug_fault(name) != "" and name not in RESERVED and name not in taken
    return plain and "/" not in name and name not in {".", ".."} and name.isprintable()


def same_as(row: Upstream, fields: Mapping[str, Any]) -> bool:
    """Whether the row already says what `fields` say (path alias apart); secrets that cannot be opened differ."""
    try:
        return all(getattr(row, name) == value for name, value in fields.items() if name != "path_alias")
    except KeyringError:
        return False


def renamed(plan: ImportPlan, slugs: Mapping[str, str]) -> ImportPlan:
    """The plan with the slugs that a person chose, by name; wrong ones become faults."""
    rows = {row.slug for row in Upstream.objects.for_org(plan.org_id)}
    items, faults, seen = [], list(plan.faults), set[str]()
    for item in plan.upstreams:
        slug = slugs.get(item.name, item.slug)
        fault = naming.slug_fault(slug)
        if not item.exists and (slug in rows or slug in seen):
            fault = f"“{slug}” is taken"
        if fault:
            faults.append(Remark(f"mcpServers.{item.name}", fault))
        seen.add(slug)
        items.append(replace(item, slug=slug))
    return replace(plan, upstreams=tuple(items), faults=tuple(faults))
