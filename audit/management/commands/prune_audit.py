import json
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand

from audit.management.commands.export_audit import moment
from audit.services import Query, erase_payloads, prune
from mcphub.core.clock import now


class Command(BaseCommand):
    help = "Remove old events (default: older than the retention setting), or erase payloads and keep the events."

    def add_arguments(self, parser: ArgumentParser) -> None:
        age = parser.add_mutually_exclusive_group()
        age.add_argument("--days", type=int, help="remove what is older than so many days")
        age.add_argument("--before", type=moment, metavar="DATE", help="remove what is older than this")
        parser.add_argument("--payloads", action="store_true", help="erase payloads only; the events stay")
        parser.add_argument("--org", default="", metavar="SLUG", help="with --payloads: of this org only")
        parser.add_argument("--principal-id", default="", help="with --payloads: of this principal only")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        before = options["before"]
        if options["days"] is not None:
            before = now() - timedelta(days=options["days"])
        if options["payloads"]:
            query = Query(org=options["org"], principal_id=options["principal_id"], until=before)
            self._say("payloads", erase_payloads(query, by="command line"), options["json"])
        else:
            self._say("events", prune(before, by="command line"), options["json"])

    def _say(self, what: str, count: int, as_json: bool) -> None:
        self.stdout.write(json.dumps({what: count}) if as_json else f"{count} {what} removed")
