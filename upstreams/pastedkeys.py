"""Pasted keys in the plain parts of an upstream's configuration, and the move of them into secret variables."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from upstreams.detecting import Pasted, keys_in, secret_argument

PLAIN: Final = ("url", "command", "args", "shown")


@dataclass(frozen=True, slots=True)
class Place:
    """A pasted key and where it stands: a part of `PLAIN`, with the number of the argument or the variable's name."""

    part: str
    at: int | str
    pasted: Pasted

    def __str__(self) -> str:
        where = f" in argument {int(self.at) + 1}" if self.part == "args" else ""
        where = f" in {self.at}" if self.part == "shown" else where
        return f"{self.pasted.what} ({self.pasted.hint}){where}"


@dataclass(slots=True)
class Plain:
    """The parts of a configuration that everybody who may look at it reads, and the secret ones beside it."""

    url: str = ""
    command: str = ""
    args: list[str] = field(default_factory=list)
    shown: dict[str, str] = field(default_factory=dict)
    secret: dict[str, str] = field(default_factory=dict, repr=False)
    env: dict[str, str] = field(default_factory=dict, repr=False)

    def pasted(self) -> tuple[Place, ...]:
        """Every key in the plain parts."""
        return tuple(self._pasted())

    def _pasted(self) -> Iterator[Place]:
        for part in ("url", "command"):
            yield from (Place(part, 0, key) for key in keys_in(getattr(self, part)))
        named = dict(secret_argument(self.args))
        for number, text in enumerate(self.args):
            keys = (named[number],) if number in named else keys_in(text)
            yield from (Place("args", number, key) for key in keys)
        for name, value in self.shown.items():
            yield from (Place("shown", name, key) for key in keys_in(f"{name}={value}"))

    def move(self) -> None:
        """Put every pasted key into a secret variable, with a reference where it stood.

        Arguments can be read by every process of the machine: a key that stood there goes to the environment, and
        the argument goes, with the option before it. `-e NAME=key`, which hands a variable on, keeps `NAME`.
        """
        for place in self.pasted():
            if place.part == "shown":
                name = str(place.at)
                if name in self.shown:
                    self.secret[name] = self.shown.pop(name)
            elif place.part == "url":
                self.url = self.url.replace(place.pasted.text, self._reference(place.pasted))
        self._move_arguments()
        for place in (place for place in self.pasted() if place.part == "command"):
            self.command = self.command.replace(place.pasted.text, "").strip()
            self._into_environment(place.pasted.variable, place.pasted)

    def _move_arguments(self) -> None:
        kept: list[str] = []
        keys = {place.at: place.pasted for place in self.pasted() if place.part == "args"}
        for number, text in enumerate(self.args):
            if number not in keys:
                kept.append(text)
                continue
            pasted = keys[number]
            name, equals, value = text.partition("=")
            if equals and not name.startswith("-") and value == pasted.text:
                self._into_environment(name, pasted)
                kept.append(name)
            else:
                self._into_environment(pasted.variable, pasted)
                if text == pasted.text and kept and kept[-1].startswith("-"):
                    kept.pop()
        self.args = kept

    def _into_environment(self, name: str, pasted: Pasted) -> None:
        self.env[name] = self._reference(pasted)

    def _reference(self, pasted: Pasted) -> str:
        same = (name for name, value in self.secret.items() if value == pasted.text)
        name = next(same, "") or self._free(pasted.variable)
        self.secret[name] = pasted.text
        return f"${{{name}}}"

    def _free(self, name: str) -> str:
        taken = {*self.secret, *self.shown}
        numbered = (f"{name}_{number}" for number in range(2, 100))
        return name if name not in taken else next(each for each in numbered if each not in taken)


def offer(places: tuple[Place, ...]) -> str:
    """What was noticed and what can be done about it, in a sentence or two."""
    what = ", ".join(map(str, places))
    argued = any(place.part in ("args", "command") for place in places)
    note = " A key in a command goes to the environment instead, and its option goes." if argued else ""
    return f"There is a {what}, where everybody who may look at this upstream reads it.{note}"


def facts(cleaned: Mapping[str, Any]) -> Plain:
    """The plain parts of a form's cleaned data."""
    return Plain(
        cleaned.get("url", ""),
        cleaned.get("command", ""),
        list(cleaned.get("args", [])),
        dict(cleaned.get("plain_variables", {})),
        dict(cleaned.get("secret_variables", {})),
        dict(cleaned.get("secret_env", {})),
    )
