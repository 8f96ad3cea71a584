"""Applying a document: everything in one transaction, or nothing; and writing one of what is there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from django.core.exceptions import ValidationError
from django.db import transaction

from mcphub.accounts import services
from mcphub.accounts.acts import Actor, changed
from mcphub.accounts.declared import owned
from mcphub.accounts.declared.reading import VERSION
from mcphub.accounts.declared.sections import BadPart, Fault, Section, Sources, checks, sections
from mcphub.accounts.models import Org
from mcphub.core.keyring import KeyringError


@dataclass(frozen=True, slots=True)
class Change:
    """One row that differs: `old` and `new` hold what differs, secrets as marks."""

    verb: Literal["create", "change", "delete"]
    org: str
    section: str
    key: str
    old: Mapping[str, Any]
    new: Mapping[str, Any]

    def lines(self) -> Iterator[str]:
        """As a diff, for people."""
        sign = {"create": "+", "change": "~", "delete": "-"}[self.verb]
        yield f"{sign} {self.org}/{self.section}/{self.key}"
        for name in {**self.old, **self.new} if self.verb == "change" else ():
            yield f"    {name}: {_short(self.old.get(name))} → {_short(self.new.get(name))}"


class Rejected(Exception):
    """The document has faults: nothing was changed."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


class _Undo(Exception):
    """Leaves the transaction of a dry run."""


def apply(
    document: Mapping[str, Any], source: str, *, sources: Sources, by: Actor, dry_run: bool = False, own: bool = True
) -> tuple[Change, ...]:
    """Make the orgs what the document says; what changed. Rows that it left out stay, unless they came from it.

    With `own` its rows belong to `source` and are read-only elsewhere. Raises `Rejected`; nothing was changed then,
    nor with `dry_run`.
    """
    run = _Run(source, sources, by, own)
    try:
        with transaction.atomic():
            for slug, parts in document["orgs"].items():
                run.org(str(slug), parts)
            if run.faults:
                raise Rejected(tuple(run.faults))
            if dry_run:
                raise _Undo
    except _Undo:
        pass
    return tuple(run.changes)


class _Run:
    """One application under way."""

    def __init__(self, source: str, sources: Sources, by: Actor, own: bool) -> None:
        self.changes: list[Change] = []
        self.faults: list[Fault] = []
        self._source = source
        self._sources = sources
        self._by = by
        self._own = own

    def org(self, slug: str, parts: Any) -> None:
        place = f"orgs.{slug}"
        if not isinstance(parts, dict):
            self.faults.append(Fault(place, "must be a mapping"))
            return
        org = Org.objects.select_for_update().filter(slug=slug).first() or self._new_org(slug, place)
        if org is None:
            return
        known = {section.name: section for section in sections()}
        unknown = parts.keys() - known.keys() - checks().keys()
        self.faults += [Fault(f"{place}.{name}", "is not known here") for name in sorted(unknown)]
        named = {name: self._named(parts.get(name), f"{place}.{name}") for name in known}
        for name in reversed(known):
            self._remove_left(org, known[name], named[name])
        for name, section in known.items():
            self._put_all(org, section, named[name], f"{place}.{name}")
        if not self.faults:
            for name, check in checks().items():
                if name in parts:
                    self.faults += [
                        Fault(f"{place}.{name}{fault.place}", fault.text) for fault in check(org, parts[name])
                    ]

    def _new_org(self, slug: str, place: str) -> Org | None:
        try:
            org = services.create_org(slug, by=self._by)
        except services.Refused as refusal:
            self.faults.append(Fault(place, str(refusal)))
            return None
        self.changes.append(Change("create", slug, "org", slug, {}, {}))
        return org

    def _named(self, part: Any, place: str) -> dict[str, Mapping[str, Any]]:
        if part is None:
            return {}
        if not isinstance(part, dict):
            self.faults.append(Fault(place, "must be a mapping of names"))
            return {}
        bad = [key for key, given in part.items() if not isinstance(given, dict | None)]
        self.faults += [Fault(f"{place}.{key}", "must be a mapping") for key in bad]
        return {str(key): given or {} for key, given in part.items() if key not in bad}

    def _put_all(self, org: Org, section: Section, named: Mapping[str, Mapping[str, Any]], place: str) -> None:
        rows = {section.key(row): row for row in section.rows(org)} if named else {}
        for key, given in named.items():
            try:
                row = self._put(org, section, key, given, rows.get(key))
            except BadPart as fault:
                self.faults.append(Fault(f"{place}.{key}.{fault.key}".rstrip("."), fault.text))
            except ValidationError as error:
                self.faults += [Fault(f"{place}.{key}{at}", text) for at, text in _texts(error)]
            else:
                if self._own:
                    owned.own(org, row, section.name, key, self._source)

    def _put(self, org: Org, section: Section, key: str, given: Mapping[str, Any], row: Any) -> Any:
        before = section.facts(row) if row is not None else {}
        verb: Literal["create", "change"] = "create" if row is None else "change"
        row = section.make(org, key) if row is None else row
        section.take(row, given, self._sources)
        section.check(row)
        old, new = changed(before, section.facts(row))
        if old or new:
            section.save(row)
            self._note(org, section, key, verb, old, new)
        return row

    def _remove_left(self, org: Org, section: Section, named: Mapping[str, Any]) -> None:
        left = owned.left(org, self._source, section.name, named)
        for one in left:
            row = section.model._default_manager.filter(pk=one.row).first()
            if row is None or section.is_kept(row):
                continue
            if why := section.why_not_removed(row):
                self.faults.append(Fault(f"orgs.{org.slug}.{section.name}.{one.key}", why))
            else:
                self._note(org, section, one.key, "delete", section.facts(row), {})
                section.remove(row)
        owned.disown(left)

    def _note(
        self,
        org: Org,
        section: Section,
        key: str,
        verb: Literal["create", "change", "delete"],
        old: Mapping[str, Any],
        new: Mapping[str, Any],
    ) -> None:
        self.changes.append(Change(verb, org.slug, section.name, key, old, new))
        section.record(self._by, org, key, verb, old or None, new or None)


def export(orgs: Mapping[str, Org]) -> dict[str, Any]:
    """The orgs as a document; secrets as `{stored: true}`, which keeps them where they are."""
    return {"version": VERSION, "orgs": {slug: _org(org) for slug, org in orgs.items()}}


def _org(org: Org) -> dict[str, Any]:
    parts = {section.name: _part(org, section) for section in sections()}
    return {name: part for name, part in parts.items() if part}


def _part(org: Org, section: Section) -> dict[str, Any]:
    rows = {section.key(row): (row, _out(section, row)) for row in section.rows(org)}
    return {key: said for key, (row, said) in sorted(rows.items()) if said or section.is_said(row)}


def _out(section: Section, row: Any) -> dict[str, Any]:
    try:
        return section.out(row)
    except KeyringError as fault:
        unreadable = Fault(f"{section.name}.{section.key(row)}", f"its secrets cannot be opened: {fault}")
        raise Rejected((unreadable,)) from None


def _texts(error: ValidationError) -> Iterator[tuple[str, str]]:
    if not hasattr(error, "error_dict"):
        yield from (("", text) for text in error.messages)
        return
    for name, texts in error.message_dict.items():
        yield from (("" if name == "__all__" else f".{name}", text) for text in texts)


def _short(value: Any) -> str:
    text = "–" if value is None or value == "" else str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
