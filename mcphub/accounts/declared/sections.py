"""The parts of the document: rows of one model, each under its name."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import models

from mcphub.accounts import acts
from mcphub.accounts.acts import Actor
from mcphub.accounts.models import Org


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with the document: `place` is a path in it (`orgs.default.rules.no-deletes.effect`)."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text


class BadPart(ValueError):
    """A value of the document cannot be used; `key` is where it stands below the row."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key
        self.text = text


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the values of secrets come from that the document only names: the environment, and files in `folder`.

    Without a folder (over the API) values come with what is sent, and nothing of this machine is read.
    """

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    folder: Path | None = None


class Section:
    """One model's rows. Subclasses say how rows are found by name, and what more there is to reading and checking.

    `fields` are columns that stand in the document as they are; what equals the column's default is left out.
    """

    name: str
    model: "type[models.Model]"
    fields: Sequence[str] = ()

    def rows(self, org: Org) -> Iterable[Any]:
        """All rows of the org."""
        return self.model._default_manager.filter(org=org)

    def key(self, row: Any) -> str:
        """The name under which a row stands."""
        return str(row.name)

    def make(self, org: Org, key: str) -> Any:
        """A new row of this name, not saved. Raises `BadPart`."""
        return self.model(org=org, name=key)

    def is_kept(self, row: Any) -> bool:
        """Whether a row stays when the document does not name it any more."""
        return False

    def why_not_removed(self, row: Any) -> str:
        """Why a row that the document does not name any more cannot go, in words; "" when it can."""
        return ""

    def is_said(self, row: Any) -> bool:
        """Whether a row that says nothing else than usual is worth a line."""
        return True

    def out(self, row: Any) -> dict[str, Any]:
        """The row as the document says it: never a secret."""
        return {name: getattr(row, name) for name in self.fields if getattr(row, name) != self._usual(name)}

    def take(self, row: Any, given: Mapping[str, Any], sources: Sources) -> None:
        """Make the row what the document says: what it leaves out is as usual. Raises `BadPart`."""
        for name in given:
            if name not in self.known():
                raise BadPart(name, "is not known here")
        for name in self.fields:
            setattr(row, name, self._shaped(name, given[name]) if name in given else self._usual(name))

    def known(self) -> Collection[str]:
        """The members that a row may have."""
        return self.fields

    def check(self, row: Any) -> None:
        """Raises `ValidationError` for a row that must not be saved, `BadPart` for one of its members."""
        others = {item.name for item in row._meta.concrete_fields} - {*self.fields, "name", "slug"}
        row.full_clean(exclude=others, validate_unique=False, validate_constraints=False)

    def facts(self, row: Any) -> dict[str, Any]:
        """The row for the record and the diff: of secrets a mark that shows a change."""
        return acts.facts(row)

    def save(self, row: Any) -> None:
        """Store the row, and what hangs on it."""
        row.save()

    def remove(self, row: Any) -> None:
        """Take the row away, and what hangs on it."""
        row.delete()

    def thing(self) -> str:
        """What the record calls such a row."""
        return str(self.model._meta.model_name)

    def record(
        self, by: Actor, org: Org, key: str, verb: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
    ) -> None:
        """Put a change on record."""
        acts.record(by, org, f"{self.thing()}.{verb}", key, old, new)

    def _column(self, name: str) -> Any:
        return self.model._meta.get_field(name)

    def _usual(self, name: str) -> Any:
        return self._column(name).get_default()

    def _shaped(self, name: str, value: Any) -> Any:
        usual = self._usual(name)
        column = self._column(name)
        if isinstance(usual, list) and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise BadPart(name, "must be a list of texts")
        if isinstance(usual, dict) and not isinstance(value, dict):
            raise BadPart(name, "must be a mapping")
        if isinstance(column, models.BooleanField) and not isinstance(value, bool):
            raise BadPart(name, "must be true or false")
        if isinstance(column, models.CharField | models.TextField) and not isinstance(value, str):
            raise BadPart(name, "must be text")
        try:
            return column.to_python(value)
        except ValidationError as error:
            raise BadPart(name, " ".join(error.messages)) from None


Check = Callable[[Org, Any], Iterable[Fault]]
"""(org, what stands under the check's name) → what is wrong, asked when everything else is in place."""

_sections: Final[dict[str, Section]] = {}
_checks: Final[dict[str, Check]] = {}


def register(section: Section) -> None:
    """Add a section behind those that are there: what it refers to must have been registered before."""
    _sections.setdefault(section.name, section)


def register_check(name: str, check: Check) -> None:
    """Add a part of the document that changes nothing and may forbid that anything is changed."""
    _checks.setdefault(name, check)


def sections() -> tuple[Section, ...]:
    """In the order in which rows are made."""
    return tuple(_sections.values())


def checks() -> Mapping[str, Check]:
    """By the name under which each stands."""
    return _checks
