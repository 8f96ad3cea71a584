import json
from argparse import ArgumentParser, FileType
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from audit.services import ChainHead, verify
from mcphub.core.command import Exit, HubCommand


class Command(HubCommand):
    help = "Check every chain of the audit record and name the first bad row of each. Exit code 1 when one is bad."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--heads",
            type=FileType(),
            metavar="FILE",
            help="a JSON report of an earlier run: its heads must still hold",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        report = verify(_heads(options["heads"]) if options["heads"] else ())
        if self.json:
            self.stdout.write(json.dumps({"ok": report.ok, **asdict(report)}))
        else:
            for fault in report.faults:
                place = f"row {fault.row}" if fault.row else "chain"
                self.stderr.write(f"writer {fault.writer}, {place}: {fault.text}")
            verdict = "valid" if report.ok else "NOT VALID"
            self.stdout.write(
                f"{verdict}: {report.rows} rows in {report.chains} chains checked, {report.payloads} payloads, "
                f"{report.pruned} rows pruned earlier"
            )
        if not report.ok:
            raise SystemExit(Exit.FAILED)


def _heads(file: Any) -> tuple[ChainHead, ...]:
    try:
        return tuple(ChainHead(**head) for head in json.load(file)["heads"])
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{file.name} is no report of verify_audit --json", returncode=Exit.USAGE) from error
