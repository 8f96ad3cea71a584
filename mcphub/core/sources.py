"""Where settings come from: flags, the environment, files named there, a settings file. One layer each.

An earlier layer wins. Every value is remembered with its origin, every fault is collected with its place.
"""

import difflib
import os
import re
from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

PREFIX: Final = "MCPHUB_"
FOREIGN: Final = ("MCPHUB_TEST_", "MCPHUB_BENCH_", "MCPHUB_AGENT_")
"""Prefixes of variables that belong to the suite, the benchmark and the agent."""

SETTINGS_FILES: Final = ("config/mcphub.yaml", "~/.mcphub/config.yaml", "/etc/mcphub/config.yaml")
REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


@dataclass(slots=True)
class Found:
    """Layers of raw values by setting name, first one first; `origins` says in words where each came from."""

    layers: list[dict[str, Any]] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, entries: Iterator[tuple[str, Any, str]], known: Collection[str]) -> None:
        """Add one layer of (name, value, origin); unknown names are faults with the nearest known name."""
        layer: dict[str, Any] = {}
        for name, value, origin in entries:
            if name in known:
                layer[name] = value
                self.origins.setdefault(name, origin)
            else:
                self.faults.append(f"unknown setting {origin}{nearest(name, known)}")
        self.layers.append(layer)

    def values(self) -> dict[str, Any]:
        """The raw value of each setting, from the first layer that has it."""
        return dict(ChainMap(*self.layers))


def nearest(name: str, known: Collection[str]) -> str:
    """`; did you mean …?`, or nothing when no known setting resembles `name`."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {PREFIX}{close[0].upper()}?" if close else ""


def gather(known: Collection[str], flags: Mapping[str, str], environ: Mapping[str, str], settings_file: str) -> Found:
    """Read every source. `flags` are by setting name; `settings_file` is "" to look in the usual places."""
    found = Found()
    found.add(((name, value, f"--set {name}") for name, value in flags.items()), known)
    found.add(_environment(environ, known), known)
    found.add(_named_files(environ, known, found.faults), known)
    path = _settings_path(settings_file, found.faults)
    if path is not None:
        found.add(_yaml(path, environ, found.faults), known)
    return found


def _hub_variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and not variable.startswith(FOREIGN) and environ[variable]:
            yield variable, environ[variable]


def _is_named_file(variable: str, known: Collection[str]) -> bool:
    name = variable.removeprefix(PREFIX).lower()
    return name.endswith("_file") and name not in known and name.removesuffix("_file") in known


def _environment(environ: Mapping[str, str], known: Collection[str]) -> Iterator[tuple[str, str, str]]:
    for variable, value in _hub_variables(environ):
        if not _is_named_file(variable, known):
            yield variable.removeprefix(PREFIX).lower(), value, variable


def _named_files(
    environ: Mapping[str, str], known: Collection[str], faults: list[str]
) -> Iterator[tuple[str, str, str]]:
    for variable, path in _hub_variables(environ):
        if not _is_named_file(variable, known):
            continue
        name = variable.removeprefix(PREFIX).lower().removesuffix("_file")
        try:
            yield name, Path(path).expanduser().read_text().strip(), f"{variable} ({path})"
        except (OSError, UnicodeDecodeError) as error:
            faults.append(f"{variable}: cannot read {path}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}")


def _settings_path(given: str, faults: list[str]) -> Path | None:
    if given:
        path = Path(given).expanduser()
        if not path.is_file():
            faults.append(f"--settings: there is no file {path}")
            return None
        return path
    return next((path for name in SETTINGS_FILES if (path := Path(name).expanduser()).is_file()), None)


def _yaml(path: Path, environ: Mapping[str, str], faults: list[str]) -> Iterator[tuple[str, Any, str]]:
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        faults.append(f"{path}: {_one_line(error)}")
        return
    if not isinstance(document, dict | None):
        faults.append(f"{path}: the file must be a mapping of setting names to values")
        return
    for key, value in (document or {}).items():
        name = str(key).upper().removeprefix(PREFIX).lower()
        if value is not None:
            yield name, _plain(value, environ, f"{path}: {key}", faults), f"{path}: {key}"


def _plain(value: Any, environ: Mapping[str, str], place: str, faults: list[str]) -> Any:
    """A YAML value with `${NAME}` and `${NAME:-default}` filled in; a mapping becomes `name=value,…`."""
    if isinstance(value, str):
        return _filled(value, environ, place, faults)
    if isinstance(value, list):
        return tuple(str(_plain(item, environ, place, faults)) for item in value)
    if isinstance(value, dict):
        return ",".join(f"{key}={_plain(item, environ, place, faults)}" for key, item in value.items())
    return value


def _filled(text: str, environ: Mapping[str, str], place: str, faults: list[str]) -> str:
    def fill(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        value = environ.get(name) or default
        if value is None:
            faults.append(f"{place}: the variable {name} is not set and has no default")
        return value or ""

    return REFERENCE.sub(fill, text)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def environment() -> Mapping[str, str]:
    """The variables of this process."""
    return os.environ
