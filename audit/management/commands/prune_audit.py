from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from audit.management.commands.export_audit import moment
from audit.services import Query, erase_payloads, prune
from mcphub.core.clock import now
from mcphub.core.command import Exit, HubCommand, days


class Command(HubCommand):
    help = "Remove old events (default: older than the retention setting), or erase payloads and keep the events."

    def add_arguments(self, parser: ArgumentParser) -> None:
        age = parser.add_mutually_exclusive_group()
        age.add_argument("--days", type=days, help="remove what is older than so many days")
        age.add_argument("--before", type=moment, metavar="DATE", help="remove what is older than this")
        parser.add_argument("--payloads", action="store_true", help="erase payloads only; the events stay")
        parser.add_argument("--org", default="", metavar="SLUG", help="with --payloads: of this org only")
        parser.add_argument("--principal-id", default="", help="with --payloads: of this principal only")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["payloads"] and (options["org"] or options["principal_id"]):
            self.stop("--org and --principal-id go with --payloads: events go by their age alone", Exit.USAGE)
        before = options["before"]
        if options["days"] is not None:
            before = now() - timedelta(days=options["days"])
        if options["payloads"]:
            query = Query(org=options["org"], principal_id=options["principal_id"], until=before)
            self._say("payloads", erase_payloads(query, by="command line"))
        else:
            self._say("events", prune(before, by="command line"))

    def _say(self, what: str, count: int) -> None:
        self.say({what: count}, f"{count} {what} removed")
