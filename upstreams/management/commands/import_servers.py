import os
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.db import IntegrityError

from mcphub.accounts.models import Org
from mcphub.core.command import Exit, HubCommand
from upstreams.importing import ImportPlan
from upstreams.services import apply_import, plan_import


class Command(HubCommand):
    help = (
        "Import the servers of an `mcpServers` file into an org. `${VARIABLES}` come from the environment, and the "
        "hosts in the file are allowed for their upstreams. Servers that are there already stay as they are."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="path of the file, or - for standard input")
        parser.add_argument("--org", default="default", metavar="SLUG")
        parser.add_argument("--dry-run", action="store_true", help="say what would happen and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        org = Org.objects.filter(slug=options["org"]).first()
        if org is None:
            self.stop(f"there is no org {options['org']}", Exit.USAGE)
        plan = plan_import(org, self._read(options["file"]), environment=os.environ, trust_hosts=True)
        if plan.faults:
            self._refuse(plan)
        if not options["dry_run"]:
            try:
                apply_import(plan)
            except IntegrityError:
                self.stop("one of the names was taken meanwhile; run the command again")
        self.say(_facts(plan, options["dry_run"]), _text(plan, options["dry_run"]))

    def _read(self, name: str) -> bytes:
        try:
            return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            self.stop(f"{name}: {error.strerror}", Exit.USAGE)

    def _refuse(self, plan: ImportPlan) -> None:
        if self.json:
            self.say({"faults": [asdict(fault) for fault in plan.faults]}, "")
        self.stop("nothing was imported:\n" + "\n".join(f"  {fault}" for fault in plan.faults))


def _facts(plan: ImportPlan, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "imported": [item.slug for item in plan.upstreams if not item.exists],
        "present": [item.slug for item in plan.upstreams if item.exists],
        "warnings": [asdict(warning) for warning in plan.warnings],
    }


def _text(plan: ImportPlan, dry_run: bool) -> str:
    verb = "would import" if dry_run else "imported"
    lines = [
        f"{item.name}: there already as {item.slug}" if item.exists else f"{verb} {item.name} as {item.slug}"
        for item in plan.upstreams
    ]
    return "\n".join([*lines, *(f"note: {warning}" for warning in plan.warnings)]) or "the file names no server"
