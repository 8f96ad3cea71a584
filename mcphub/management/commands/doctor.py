"""`doctor`: what is wrong, how to mend it, where each setting came from."""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from django.core.management import BaseCommand

from mcphub import doctor

MARKS: Final = {"ok": "ok      ", "warning": "warning ", "problem": "PROBLEM "}


class Command(BaseCommand):
    help = "Say what is wrong and how to mend it. Ends with 1 when there is a problem."
    requires_system_checks = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        report = doctor.report()
        self.stdout.write(json.dumps(report, indent=2) if options["json"] else _text(report))
        if any(item["level"] == "problem" for item in report["findings"]):
            sys.exit(1)


def _text(report: Mapping[str, Any]) -> str:
    lines = []
    for item in report["findings"]:
        lines.append(f"{MARKS[item['level']]} {item['about']}: {item['text']}")
        if item["fix"]:
            lines.append(f"          -> {item['fix']}")
    lines += ["", "Settings:"]
    lines += [f"  {item['name']} = {item['value'] or '-'}  [{item['origin']}]" for item in report["settings"]]
    return "\n".join(lines)
