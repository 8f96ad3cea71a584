"""Two at once: an org keeps an owner and its quota, on SQLite and on PostgreSQL."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from django.db import connection, connections

from mcphub.accounts import invitations, services
from mcphub.accounts.acts import COMMAND_LINE
from mcphub.accounts.models import Membership, Org, OrgQuota, User
from mcphub.accounts.roles import OWNER
from mcphub.accounts.services import LastOwner, Refused
from tests.harness.services import program

ROOT: Final = Path(__file__).resolve().parents[2]
Leave = Callable[[Org, User], object]


def _member(org: Org, user: User) -> Membership:
    return Membership.objects.select_related("org", "user").get(org=org, user=user)


LEAVING: Final[dict[str, Leave]] = {
    "removed": lambda org, user: services.remove_member(_member(org, user)),
    "demoted": lambda org, user: services.set_roles(_member(org, user), ["viewer"]),
    "disabled": lambda _, user: services.set_active(user, False),
}


def at_once(*acts: Callable[[], object]) -> list[str]:
    """What became of acts that begin at the same moment: `done`, or the name of the refusal."""
    start, outcomes = threading.Barrier(len(acts)), []

    def run(act: Callable[[], object]) -> None:
        start.wait()
        try:
            act()
            outcomes.append("done")
        except Refused as refusal:
            outcomes.append(type(refusal).__name__)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return sorted(outcomes)


@pytest.mark.requirement("T3")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("one", "other"), [("removed", "removed"), ("removed", "demoted"), ("demoted", "disabled")])
def test_the_last_two_owners_do_not_both_go(one: str, other: str) -> None:
    for round_ in range(3):
        org = services.create_org(f"org-{round_}")
        users = [services.create_user(f"o{n}-{round_}@example.org") for n in range(2)]
        for user in users:
            services.add_member(org, user, [OWNER])
        outcomes = at_once(lambda: LEAVING[one](org, users[0]), lambda: LEAVING[other](org, users[1]))  # noqa: B023
        assert outcomes == [LastOwner.__name__, "done"]


@pytest.mark.requirement("T8")
@pytest.mark.django_db(transaction=True)
def test_the_last_place_is_given_once() -> None:
    org = services.create_org("north")
    OrgQuota.objects.create(org=org, members=1)
    users = [services.create_user(f"m{n}@example.org") for n in range(3)]
    outcomes = at_once(*(lambda user=user: services.add_member(org, user, ["member"]) for user in users))
    assert outcomes == ["Refused", "Refused", "done"]
    OrgQuota.objects.update(members=2)
    emails = [f"i{n}@example.org" for n in range(3)]
    outcomes = at_once(*(lambda e=e: invitations.invite(org, e, ["member"], by=COMMAND_LINE) for e in emails))
    assert outcomes == ["Refused", "Refused", "done"]


@pytest.mark.requirement("T3")
def test_the_same_holds_on_postgresql() -> None:
    if connection.vendor == "postgresql":
        pytest.skip("this run is on PostgreSQL already")
    program("postgres")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__, "-k", "not same"]
    environment = {**os.environ, "MCPHUB_TEST_DATABASE": "postgresql"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "4 passed" in done.stdout
