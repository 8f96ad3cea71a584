from argparse import ArgumentParser
from typing import Any

from mcphub.accounts import services
from mcphub.accounts.models import Org
from mcphub.core.command import Exit, HubCommand, add_if_absent


class Command(HubCommand):
    help = "Make an org with its built-in roles."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", help="2–32 lower-case letters, digits and inner hyphens; part of its URLs")
        parser.add_argument("--name", default="", help="what people read (default: the slug)")
        add_if_absent(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            org, created = services.create_org(options["slug"], options["name"]), True
        except services.Exists as refusal:
            if not options["if_absent"]:
                self.stop(str(refusal), Exit.THERE)
            org, created = Org.objects.get(slug=options["slug"]), False
        except services.Refused as refusal:
            self.stop(str(refusal))
        facts = {"id": org.pk, "slug": org.slug, "name": org.name, "created": created}
        self.say(facts, f"org {org.slug} {'made' if created else 'is there already'}")
