from argparse import ArgumentParser
from typing import Any

from mcphub.accounts import services
from mcphub.accounts.models import ApiKey
from mcphub.core.command import Exit, HubCommand, add_if_absent


class Command(HubCommand):
    help = "End an API key by its name. It stops working everywhere within seconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--org", default="default", metavar="SLUG")
        add_if_absent(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        slug, name = options["org"], options["name"]
        key = ApiKey.objects.filter(org__slug=slug, name=name, revoked_at=None).select_related("org").first()
        if key is None and not options["if_absent"]:
            self.stop(f"{slug} has no working key {name}", Exit.THERE)
        if key is not None:
            services.revoke_key(key)
        done = key is not None
        facts = {"name": name, "org": slug, "revoked": done}
        self.say(facts, f"key {name} {'revoked' if done else 'was not there'}")
