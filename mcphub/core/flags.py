"""What the command line sets before Django's settings are read.

`--set NAME=VALUE` and `--settings FILE` are taken by every command; `up` and `serve` have flags of their
own that are settings by another name, or that shape this start only (`StartOptions`).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn

SETTING_FLAGS: Final = {
    "up": {"host": "host", "port": "port", "data_dir": "data_dir", "api_key": "admin_key"},
    "serve": {"host": "host", "port": "port"},
}


SINGLE_UPSTREAM: Final = "main"
"""The slug of the upstream named behind `--`."""


class BadFlags(Exception):
    """The command line cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What holds for this start of `up` only. Paths begin with "/" and do not end with one, or are "".

    `path_prefix` stands before every URL the hub serves; `root_path` is cut off by a proxy before us
    (`MCPHUB_SERVER_URL` may say it, too);
    `single_upstream` is the slug whose own names stand un-prefixed on `/mcp`; `no_auth` lets everybody on
    this machine in as the one open principal.
    """

    path_prefix: str = ""
    root_path: str = ""
    single_upstream: str = ""
    no_auth: bool = False
    ephemeral: bool = False
    tls: bool = False

    @property
    def script_name(self) -> str:
        """What stands before the hub's own paths in a URL as clients see it."""
        return self.root_path + self.path_prefix

    def at(self, public_path: str) -> "StartOptions":
        """The same where the hub's public address has this path: what is not our prefix, a proxy cuts off."""
        if self.root_path or not public_path.endswith(self.path_prefix):
            return self
        return replace(self, root_path=public_path.removesuffix(self.path_prefix))


@dataclass(frozen=True, slots=True)
class Flags:
    """Settings by name as text, the settings file named, and the options of this start."""

    settings: dict[str, str] = field(default_factory=dict)
    settings_file: str = ""
    start: StartOptions = StartOptions()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadFlags(message)


def read(argv: Sequence[str]) -> tuple[Flags, list[str]]:
    """Split `argv` (with the program first) into flags and what Django's command runner gets.

    Raises `BadFlags`. Nothing behind `--` is looked at. Flags of `up` and `serve` stay in the rest.
    """
    program, *words = argv
    cut = words.index("--") if "--" in words else len(words)
    everywhere = _Parser(add_help=False, allow_abbrev=False)
    everywhere.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    everywhere.add_argument("--settings", default="")
    common, rest = everywhere.parse_known_args(words[:cut])
    command = rest[0] if rest else ""
    own = _own_flags(command, rest[1:])
    settings = {name: value for flag, name in SETTING_FLAGS.get(command, {}).items() if (value := own.get(flag))}
    settings |= dict(_assignment(text) for text in common.set)
    start = _start(own, single=command == "up" and len(words) > cut + 1)
    return Flags(settings, common.settings, start), [program, *rest, *words[cut:]]


def _own_flags(command: str, words: Sequence[str]) -> dict[str, str]:
    parser = _Parser(add_help=False, allow_abbrev=False)
    for flag in SETTING_FLAGS.get(command, {}):
        parser.add_argument(f"--{flag.replace('_', '-')}")
    if command == "up":
        parser.add_argument("--path-prefix")
        parser.add_argument("--root-path")
        parser.add_argument("--ssl-certfile")
        parser.add_argument("--no-auth", action="store_const", const="yes")
        parser.add_argument("--ephemeral", action="store_const", const="yes")
    return {name: value for name, value in vars(parser.parse_known_args(words)[0]).items() if value}


def _start(own: dict[str, str], *, single: bool) -> StartOptions:
    return StartOptions(
        path_prefix=_path(own.get("path_prefix", "")),
        root_path=_path(own.get("root_path", "")),
        single_upstream=SINGLE_UPSTREAM if single else "",
        no_auth="no_auth" in own,
        ephemeral="ephemeral" in own,
        tls="ssl_certfile" in own,
    )


def _path(text: str) -> str:
    trimmed = text.strip("/")
    return f"/{trimmed}" if trimmed else ""


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise BadFlags(f"--set takes NAME=VALUE, not {text!r}")
    return name.strip().upper().removeprefix("MCPHUB_").lower(), value
