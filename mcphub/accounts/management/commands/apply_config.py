import os
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mcphub.accounts.acts import Actor
from mcphub.accounts.declared.applying import Rejected, apply
from mcphub.accounts.declared.reading import Unreadable, read
from mcphub.accounts.declared.sections import Sources
from mcphub.core.command import Exit, HubCommand


class Command(HubCommand):
    help = (
        "Make orgs what a YAML file says: all of it or, when anything is wrong or one of its policy tests fails, "
        "nothing. Running it again changes nothing. Its rows become read-only in the admin."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
        parser.add_argument("--editable", action="store_true", help="leave the rows to be changed in the admin too")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"].resolve()
        try:
            document = read(path.read_bytes())
        except OSError as error:
            self.stop(f"{options['file']}: {error.strerror}", Exit.USAGE)
        except Unreadable as error:
            self.stop(f"{options['file']}: {error}", Exit.USAGE)
        dry = options["dry_run"]
        try:
            changes = apply(
                document,
                str(path),
                sources=Sources(os.environ, path.parent),
                by=Actor(f"apply_config {path.name}"),
                dry_run=dry,
                own=not options["editable"],
            )
        except Rejected as rejected:
            for fault in rejected.faults:
                self.stderr.write(str(fault))
            self.stop("Nothing was changed.")
        lines = [line for change in changes for line in change.lines()]
        verdict = f"{len(changes)} rows {'would change' if dry else 'changed'}." if changes else "Nothing to change."
        self.say({"dry_run": dry, "changes": [asdict(change) for change in changes]}, "\n".join([*lines, verdict]))
