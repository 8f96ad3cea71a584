import time
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from mcphub.accounts.models import Org
from mcphub.core.command import Exit, HubCommand
from policies.comparing import TOLD, Unknown
from policies.drafts import BadDraft, draft_of
from policies.replaying import replay, summary

SHOWN: Final = 50


class Command(HubCommand):
    help = "Say which calls of the last days a draft of rules would have decided otherwise. Nothing is changed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("draft", nargs="?", type=Path, metavar="FILE", help="YAML or JSON: {put: [rules]}")
        parser.add_argument("--org", default="default", metavar="SLUG")
        parser.add_argument("--days", type=int, default=7)
        parser.add_argument("--without", action="append", default=[], metavar="RULE", help="as if it were gone")

    def handle(self, *args: Any, **options: Any) -> None:
        org = Org.objects.filter(slug=options["org"]).first()
        if org is None:
            self.stop(f"there is no org {options['org']}", Exit.THERE)
        document = self._document(options["draft"], options["without"])
        try:
            draft = draft_of(org, document)
        except BadDraft as fault:
            self.stop(str(fault), Exit.USAGE)
        started = time.monotonic()
        found = summary(replay(org.pk, draft, max(1, options["days"]), pause_s=0))
        took = time.monotonic() - started
        self.say({**found, "seconds": round(took, 3)}, "\n".join(_lines(found, took)))

    def _document(self, file: Path | None, without: list[str]) -> dict[str, Any]:
        if file is None and not without:
            self.stop("give a file with rules, or --without a rule", Exit.USAGE)
        document: Any = {}
        if file is not None:
            try:
                document = yaml.safe_load(file.read_text()) or {}
            except (OSError, UnicodeError, yaml.YAMLError) as fault:
                self.stop(f"{file}: {' '.join(str(fault).split())}", Exit.USAGE)
        if not isinstance(document, dict):
            self.stop(f"{file}: write put and remove", Exit.USAGE)
        return {**document, "remove": [*(document.get("remove") or []), *without]}


def _lines(found: Mapping[str, Any], took: float) -> Iterator[str]:
    unknown = sum(found["unknown"].values())
    yield f"{found['calls']:,} calls read in {took:.1f} s: {found['changed']:,} would change, {unknown:,} unknown"
    for why, count in found["unknown"].items():
        yield f"  unknown: {count:,} because {TOLD[Unknown(why)]}"
    for one in found["changes"][:SHOWN]:
        what = f"{one['upstream']}/{one['name']}"
        yield f"  {one['count']:>7,}  {one['before']} → {one['after']}  {what} by {one['principal']}: {one['reason']}"
    if len(found["changes"]) > SHOWN:
        yield f"  and {len(found['changes']) - SHOWN} more kinds of change (--json has them)"
