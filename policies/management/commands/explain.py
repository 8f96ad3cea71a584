import json
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from mcphub.accounts.models import Org
from mcphub.accounts.selectors import principal_named
from mcphub.core.command import Exit, HubCommand
from policies.explaining import Explanation, UnknownTool, explain


class Command(HubCommand):
    help = "Say whether somebody may call a tool, by which rule, and who can change that."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--org", default="default", metavar="SLUG")
        parser.add_argument("--principal", required=True, metavar="EMAIL|KEY-NAME")
        parser.add_argument("--tool", required=True, metavar="NAME", help="time__now, time/now or now")
        parser.add_argument("--arguments", metavar="JSON", help="the arguments of the call, as a JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        org = Org.objects.filter(slug=options["org"]).first()
        if org is None:
            self.stop(f"there is no org {options['org']}", Exit.THERE)
        principal = principal_named(org.pk, options["principal"])
        if principal is None:
            self.stop(f"{org.slug} has no member and no working key {options['principal']}", Exit.THERE)
        try:
            found = explain(org, principal, options["tool"], self._arguments(options["arguments"]))
        except UnknownTool as unknown:
            self.stop(str(unknown), Exit.THERE)
        self.say(asdict(found), "\n".join(_lines(found)))

    def _arguments(self, text: str | None) -> dict[str, Any] | None:
        if text is None:
            return None
        try:
            arguments = json.loads(text)
        except ValueError as fault:
            self.stop(f"--arguments is not JSON: {fault}", Exit.USAGE)
        if not isinstance(arguments, dict):
            self.stop("--arguments is not a JSON object", Exit.USAGE)
        return arguments


def _lines(found: Explanation) -> Iterator[str]:
    target = found.target
    rule = f" by {found.rule_name}" if found.rule else ""
    yield f"{found.effect}{rule}: {found.reason} ({found.why})"
    seen = "listed" if found.listed else "hidden"
    yield f"{target.upstream}/{target.name} is a {target.risk} {target.kind}, {seen}"
    if found.open_arguments:
        yield "The outcome depends on the arguments: give --arguments to see it for one call."
    for line in found.trace:
        yield f"  {'→' if line.matched else ' '} {line.name}: {line.why}"
    if found.needed:
        yield f"Needed: {found.needed}"
    if found.opened_for:
        yield f"Roles that could call it: {', '.join(found.opened_for)}"
    yield f"Can change this ({found.right}): {', '.join(found.changeable_by) or 'only a hub admin'}"
