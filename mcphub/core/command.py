"""What the hub's commands have in common: `--json`, and exit codes that scripts can rely on.

0 done, 1 failed, 2 wrong usage, 3 there already (or, for what takes away, not there). `--set NAME=VALUE` and
`--settings FILE` are read before any command runs (`mcphub.core.flags`).
"""

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    THERE = 3


class HubCommand(BaseCommand):
    """Base of commands that print something: `say` prints once, `stop` ends with a sentence and a code."""

    json: bool = False

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        self.json = options["json"]
        return super().execute(*args, **options)

    def say(self, facts: Mapping[str, Any], text: str) -> None:
        """Print `facts` with `--json`, else `text`."""
        self.stdout.write(json.dumps(facts, ensure_ascii=False, default=str) if self.json else text)

    def stop(self, why: str, code: Exit = Exit.FAILED) -> NoReturn:
        """End with the sentence `why` on stderr."""
        raise CommandError(why, returncode=code)


def add_if_absent(parser: ArgumentParser) -> None:
    """The flag with which a command can run again and again."""
    parser.add_argument("--if-absent", action="store_true", help="exit 0 when there is nothing to do")
