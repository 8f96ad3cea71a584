"""What the hub's commands have in common: `--json`, and exit codes that scripts can rely on.

0 done, 1 failed, 2 wrong usage, 3 there already (or, for what takes away, not there). `--set NAME=VALUE` and
`--settings FILE` are read before any command runs (`mcphub.core.flags`).
"""

import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final, NoReturn

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from mcphub.core.starting import CannotStart, check_database

MOST_DAYS: Final = 36_500


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    THERE = 3


class HubCommand(BaseCommand):
    """Base of commands that print something: `say` prints once, `stop` ends with a sentence and a code.

    All of them need the database: one that does not answer, or has not the tables, is a sentence too.
    """

    requires_system_checks = ("mcphub",)
    json: bool = False

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        self.json = options["json"]
        try:
            check_database()
            return super().execute(*args, **options)
        except CannotStart as fault:
            self.stop(str(fault))
        except OperationalError as error:
            self.stop(f"The database does not answer: {' '.join(str(error).split())}")

    def say(self, facts: Mapping[str, Any], text: str) -> None:
        """Print `facts` with `--json`, else `text`."""
        self.stdout.write(json.dumps(facts, ensure_ascii=False, default=str) if self.json else text)

    def stop(self, why: str, code: Exit = Exit.FAILED) -> NoReturn:
        """End with the sentence `why` on stderr."""
        raise CommandError(why, returncode=code)


def add_if_absent(parser: ArgumentParser) -> None:
    """The flag with which a command can run again and again."""
    parser.add_argument("--if-absent", action="store_true", help="exit 0 when there is nothing to do")


def days(text: str) -> float:
    """A number of days for a flag, 0 to a hundred years."""
    try:
        found = float(text)
    except ValueError:
        found = -1
    if not 0 <= found <= MOST_DAYS:
        raise ArgumentTypeError(f"must be a number of days from 0 to {MOST_DAYS}, not {text!r}")
    return found
