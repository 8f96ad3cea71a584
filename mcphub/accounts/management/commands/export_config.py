from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from mcphub.accounts.declared.applying import Rejected, export
from mcphub.accounts.declared.reading import written
from mcphub.accounts.models import Org
from mcphub.core.command import Exit, HubCommand


class Command(HubCommand):
    help = "Write the configuration of orgs as YAML for apply_config. Secrets are named, never written."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--org", action="append", metavar="SLUG", help="only this one; may be repeated")
        parser.add_argument("--output", type=Path, metavar="FILE", help="instead of standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        orgs = {org.slug: org for org in Org.objects.all()}
        wanted = options["org"] or list(orgs)
        if missing := [slug for slug in wanted if slug not in orgs]:
            self.stop(f"there is no org {', '.join(missing)}", Exit.THERE)
        try:
            document = export({slug: orgs[slug] for slug in wanted})
        except Rejected as fault:
            self.stop(str(fault))
        text = written(document)
        if options["output"]:
            options["output"].write_text(text)
            self.say({"orgs": wanted, "file": str(options["output"])}, f"Written to {options['output']}.")
        else:
            self.say(document, text.rstrip("\n"))
