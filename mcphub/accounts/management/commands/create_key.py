from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from mcphub.accounts import services
from mcphub.accounts.models import ApiKey, Org, User, normal_email
from mcphub.core.clock import now
from mcphub.core.command import Exit, HubCommand, add_if_absent, days


class Command(HubCommand):
    help = "Make an API key and print it, once: a person's (--user) or a service key pinned to roles (--role)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="unique among the org's working keys")
        parser.add_argument("--org", default="default", metavar="SLUG")
        parser.add_argument("--user", metavar="EMAIL", help="whose key it is; without, a service key")
        parser.add_argument("--role", action="append", default=[], metavar="NAME", help="may be repeated")
        parser.add_argument("--upstreams", default="", metavar="GLOBS", help="only these, comma-separated")
        parser.add_argument("--tools", default="", metavar="GLOBS", help="only these, by original names")
        parser.add_argument("--application", default="", help="what policy and audit call the program")
        parser.add_argument("--expires-days", type=days, metavar="N", help="default: never")
        add_if_absent(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        org = Org.objects.filter(slug=options["org"]).first()
        if org is None:
            self.stop(f"there is no org {options['org']}")
        try:
            self._print(self._made(org, options))
        except services.Exists as refusal:
            if not options["if_absent"]:
                self.stop(str(refusal), Exit.THERE)
            key = ApiKey.objects.for_org(org).get(name=options["name"], revoked_at=None)
            facts = {"id": key.pk, "name": key.name, "org": org.slug, "created": False}
            self.say(facts, f"key {key.name} is there already; its text is not kept")
        except services.Refused as refusal:
            self.stop(str(refusal))

    def _made(self, org: Org, options: dict[str, Any]) -> services.NewKey:
        return services.create_key(
            org,
            options["name"],
            user=self._person(options["user"]) if options["user"] else None,
            roles=options["role"],
            upstreams=_globs(options["upstreams"]),
            tools=_globs(options["tools"]),
            application=options["application"],
            expires_at=_moment(options["expires_days"]),
        )

    def _person(self, email: str) -> User:
        found: User | None = User.objects.filter(email=normal_email(email)).first()
        if found is None:
            raise services.Absent(f"there is no person {email}")
        return found

    def _print(self, made: services.NewKey) -> None:
        row = made.row
        facts = {"id": row.pk, "name": row.name, "org": row.org.slug, "created": True, "key": made.plain}
        self.say({**facts, "expires_at": row.expires_at}, made.plain)


def _globs(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _moment(ahead: float | None) -> datetime | None:
    return None if ahead is None else now() + timedelta(days=ahead)
