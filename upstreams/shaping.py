"""What an operator changes of a definition: its name and description, and arguments that clients do not choose. Pure.

The definition itself stays as its upstream gave it; a shape is applied to what clients are listed, and to the
arguments of every call before anything judges them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

Mode = Literal["default", "fixed", "hidden"]
MODES: Final[tuple[Mode, ...]] = ("default", "fixed", "hidden")
MAX_VALUES_BYTES: Final = 16 * 1024
ALIAS: Final = re.compile(r"\A[A-Za-z0-9_-]{1,64}\Z")
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "default": frozenset({"mode", "value"}),
    "fixed": frozenset({"mode", "value"}),
    "hidden": frozenset({"mode"}),
}
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode: Final = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Shape:
    """An operator's changes to one definition.

    `defaults` are sent where the client leaves them out; `fixed` are sent always; `hidden` never. Clients are
    listed neither of the latter two and may send neither. `declared` are the names that the upstream declares.
    """

    alias: str = ""
    description: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    declared: frozenset[str] = frozenset()
    closed: frozenset[str] = field(init=False)
    folded: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "closed", self.hidden | self.fixed.keys())
        object.__setattr__(self, "folded", frozenset(map(str.casefold, self.closed)))

    @property
    def changes_arguments(self) -> bool:
        """Whether calls differ from what their client sends."""
        return bool(self.closed or self.defaults)

    def refused(self, arguments: Mapping[str, Any]) -> str:
        """The first of `arguments` that a client may not choose; "" for none.

        Another case of a closed name counts too, unless the upstream declares it as an argument of its own.
        """
        for name in arguments:
            if name in self.closed or (name.casefold() in self.folded and name not in self.declared):
                return name
        return ""

    def filled(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """A client's arguments with the defaults of those that it left out."""
        return {**self.defaults, **arguments}

    def shown(self, body: bytes) -> bytes:
        """The definition's JSON text as clients are listed it, but for its name."""
        found = _members.decode(body)
        if self.description:
            found["description"] = msgspec.Raw(_encode(self.description))
        if self.changes_arguments and "inputSchema" in found:
            found["inputSchema"] = msgspec.Raw(_encode(self._schema(msgspec.json.decode(found["inputSchema"]))))
        return _encode(found)

    def _schema(self, schema: Any) -> Any:
        if not isinstance(schema, dict):
            return schema
        properties = schema.get("properties")
        if isinstance(properties, dict):
            schema["properties"] = {
                name: self._with_default(name, each) for name, each in properties.items() if name not in self.closed
            }
        if isinstance(schema.get("required"), list):
            schema["required"] = [
                name for name in schema["required"] if name not in self.closed and name not in self.defaults
            ]
        return schema

    def _with_default(self, name: str, declared: Any) -> Any:
        if name not in self.defaults:
            return declared
        return {**(declared if isinstance(declared, dict) else {}), "default": self.defaults[name]}


def shape_of(body: str | bytes, alias: str, description: str, arguments: Mapping[str, Any]) -> Shape | None:
    """The shape that a definition's row describes, or None for one that changes nothing.

    `arguments` is `{name: {"mode": "default" | "fixed" | "hidden", "value": …}}`.
    """
    if not (alias or description or arguments):
        return None
    modes = {mode: {name: one for name, one in arguments.items() if one["mode"] == mode} for mode in MODES}
    return Shape(
        alias=alias,
        description=description,
        defaults={name: one["value"] for name, one in modes["default"].items()},
        fixed={name: one["value"] for name, one in modes["fixed"].items()},
        hidden=frozenset(modes["hidden"]),
        declared=frozenset(declared_arguments(body)),
    )


def declared_arguments(body: str | bytes) -> dict[str, Any]:
    """The arguments that a definition declares: name → JSON schema. Empty where it declares none."""
    schema = msgspec.json.decode(body).get("inputSchema") if body else None
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties if isinstance(properties, dict) else {}


def required_arguments(body: str | bytes) -> frozenset[str]:
    """The arguments that every call must have."""
    schema = msgspec.json.decode(body).get("inputSchema") if body else None
    required = schema.get("required") if isinstance(schema, dict) else None
    return (
        frozenset(name for name in required if isinstance(name, str)) if isinstance(required, list) else frozenset()
    )


def argument_faults(arguments: Any, body: str | bytes) -> list[str]:
    """Why these changes to arguments cannot be saved, as sentences; empty when they can."""
    if not isinstance(arguments, dict) or not all(_is_change(one) for one in arguments.values()):
        return ['Write {name: {"mode": "default", "fixed" or "hidden", "value": …}}; a hidden one has no value.']
    if len(json.dumps(arguments)) > MAX_VALUES_BYTES:
        return [f"All values together are longer than {MAX_VALUES_BYTES // 1024} KiB."]
    declared, required = declared_arguments(body), required_arguments(body)
    return [fault for name, one in arguments.items() if (fault := _fault(name, one, declared, required))]


def _is_change(one: Any) -> bool:
    return isinstance(one, dict) and one.get("mode") in MODES and one.keys() == _KEYS[one["mode"]]


def _fault(name: str, one: Mapping[str, Any], declared: Mapping[str, Any], required: frozenset[str]) -> str:
    if name not in declared:
        return f"{name!r} is no argument that this tool declares."
    if one["mode"] == "hidden":
        return f"{name!r} is required by the upstream: give it a fixed value." if name in required else ""
    return _value_fault(name, one["value"], declared[name])


def _value_fault(name: str, value: Any, schema: Any) -> str:
    """For a value that is plainly of another type than declared; all else is the upstream's to check."""
    if not isinstance(schema, dict):
        return ""
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(kinds, list) and kinds and not any(_is_of(value, kind) for kind in kinds):
        return f"The value of {name!r} must be {' or '.join(map(str, kinds))}."
    choices = schema.get("enum")
    if isinstance(choices, list) and value not in choices:
        return f"The value of {name!r} must be one of {', '.join(json.dumps(choice) for choice in choices[:20])}."
    return ""


def _is_of(value: Any, kind: Any) -> bool:
    expected = _TYPES.get(kind) if isinstance(kind, str) else None
    if expected is None:
        return True
    if isinstance(value, bool) and bool not in expected:
        return False
    return isinstance(value, expected) and not (kind == "integer" and isinstance(value, float) and value % 1)
