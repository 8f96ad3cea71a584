from argparse import ArgumentParser
from typing import Any

from mcphub.core.command import Exit, HubCommand
from upstreams.models import Upstream
from upstreams.services import mark_refresh_due


class Command(HubCommand):
    help = "Ask the running hub to list the definitions of an upstream again, or of all. It does so within seconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("upstream", nargs="?", help="slug; all that are switched on when left out")
        parser.add_argument("--org", metavar="SLUG", help="only in this org")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = Upstream.objects.filter(enabled=True)
        if options["org"]:
            rows = rows.filter(org__slug=options["org"])
        if options["upstream"]:
            rows = rows.filter(slug=options["upstream"])
        found = list(rows.values_list("pk", "org__slug", "slug"))
        if options["upstream"] and not found:
            self.stop(f"no upstream {options['upstream']} is switched on", Exit.THERE)
        mark_refresh_due(pk for pk, _, _ in found)
        names = [f"{org}/{slug}" for _, org, slug in found]
        self.say({"asked": names}, f"asked for {', '.join(names)}" if names else "there is nothing to list")
