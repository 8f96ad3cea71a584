import sys
from argparse import ArgumentParser
from typing import Any

from django.db import transaction

from mcphub.accounts import links, services
from mcphub.accounts.models import Membership, Org, User, normal_email
from mcphub.accounts.roles import MEMBER
from mcphub.accounts.sign_in import password_offered
from mcphub.core.command import Exit, HubCommand, add_if_absent


class Command(HubCommand):
    help = "Make a person, optionally a member of an org, and print a one-time link with which they set a password."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--name", default="")
        parser.add_argument("--org", metavar="SLUG", help="make them a member of this org")
        parser.add_argument("--role", action="append", metavar="NAME", help="may be repeated (default: member)")
        parser.add_argument(
            "--hub-admin",
            action="store_true",
            help="runs the installation, crosses orgs; with --if-absent of somebody who is there, too",
        )
        parser.add_argument(
            "--password-stdin",
            action="store_true",
            help="the first line of standard input is a prepared password, to be changed at the first sign-in",
        )
        add_if_absent(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["role"] and not options["org"]:
            self.stop("--role needs --org", Exit.USAGE)
        try:
            with transaction.atomic():
                user, created = self._person(options)
                joined = self._member(user, options)
                if created and options["password_stdin"]:
                    services.prepare_password(user, sys.stdin.readline().rstrip("\n"))
        except services.Exists as refusal:
            self.stop(str(refusal), Exit.THERE)
        except services.Refused as refusal:
            self.stop(str(refusal))
        needs_link = created and password_offered() and not options["password_stdin"]
        link = links.password_link(user) if needs_link else ""
        facts = {"id": user.pk, "email": user.email, "created": created, "joined": joined, "link": link}
        self.say(facts, "\n".join(filter(None, [f"{user.email} {'made' if created else 'is there already'}", link])))

    def _person(self, options: dict[str, Any]) -> tuple[User, bool]:
        found = User.objects.filter(email=normal_email(options["email"])).first()
        if found is not None and options["if_absent"]:
            if options["hub_admin"] and not found.is_superuser:
                services.make_hub_admin(found)
            return found, False
        return services.create_user(options["email"], options["name"], hub_admin=options["hub_admin"]), True

    def _member(self, user: User, options: dict[str, Any]) -> bool:
        if not options["org"]:
            return False
        org = Org.objects.filter(slug=options["org"]).first()
        if org is None:
            raise services.Absent(f"there is no org {options['org']}")
        if options["if_absent"] and Membership.objects.for_org(org).filter(user=user).exists():
            return False
        services.add_member(org, user, options["role"] or [MEMBER])
        return True
