"""Strict YAML: plain values, no name twice, no aliases, bounded."""

from collections.abc import Mapping
from typing import Any, Final

import yaml

MAX_BYTES: Final = 4 * 1024 * 1024
VERSION: Final = 1


class Unreadable(Exception):
    """The document is not one, in a sentence with the place."""


class _Loader(yaml.SafeLoader):
    """SafeLoader without what is ambiguous or grows."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise _fault("aliases are not used here", self.get_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set[str]()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                raise _fault(f"write the name {name!r} in quotes", key.start_mark)
            if name in seen:
                raise _fault(f"the name {name!r} stands twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


def _fault(text: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, text, mark)


def read(raw: bytes) -> Mapping[str, Any]:
    """The document. Raises `Unreadable`."""
    if len(raw) > MAX_BYTES:
        raise Unreadable(f"the file is larger than {MAX_BYTES} bytes")
    try:
        document = yaml.load(raw.decode(), _Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise Unreadable(f"{place}{error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(" ".join(str(error).split())) from None
    if not isinstance(document, dict) or not isinstance(document.get("orgs"), dict):
        raise Unreadable("write a mapping with “version” and “orgs”")
    if document.get("version") != VERSION:
        raise Unreadable(f"version {document.get('version')!r} is not known; this hub reads version {VERSION}")
    if unknown := sorted(document.keys() - {"version", "orgs"}):
        raise Unreadable(f"{', '.join(unknown)}: not known beside “version” and “orgs”")
    return document


class _Dumper(yaml.SafeDumper):
    """Lines as people write them."""


def _text(dumper: yaml.SafeDumper, value: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
_Dumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]  # PyYAML's own hook


def written(document: Mapping[str, Any]) -> str:
    """The document as text."""
    return yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
