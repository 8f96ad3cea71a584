"""Odd tools that a list has to carry as they are."""

from typing import Any, Final

_OBJECT: Final = {"type": "object"}

DEFINITIONS: Final[list[dict[str, Any]]] = [
    {"name": "say", "inputSchema": _OBJECT, "annotations": {"readOnlyHint": True}},
    {"name": "unknown-fields", "inputSchema": _OBJECT, "x-vendor": {"a": [1, None]}, "futureField": "kept"},
    {"name": "nulls", "inputSchema": _OBJECT, "title": None, "_meta": {"example.org/nothing": None}},
    {
        "name": "schema",
        "inputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
            "properties": {
                "tree": {"$ref": "#/$defs/tree"},
                "big": {"const": 2**70, "default": None},
                "héllo ☃": {"pattern": "^\\p{L}+$"},
            },
            "unevaluatedProperties": False,
            "x-unknown": [True, 1.5, {"deep": {"deeper": {}}}],
        },
    },
    {
        "name": "icons",
        "title": "With icons",
        "inputSchema": _OBJECT,
        "icons": [{"src": "data:image/png;base64,AA==", "sizes": ["any"], "theme": "dark"}],
        "execution": {"taskSupport": "optional", "other": 1},
    },
    {"name": "annotated", "inputSchema": _OBJECT, "annotations": {"readOnlyHint": True, "mood": "calm"}},
    {"name": "with-output", "inputSchema": _OBJECT, "outputSchema": {"type": "object", "additionalProperties": {}}},
]
