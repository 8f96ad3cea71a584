"""Lease rows: one holder at a time, and nobody waits for the dead longer than a lease lasts."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections

from mcphub.core import clock
from upstreams import leases
from upstreams.models import Lease

pytestmark = pytest.mark.django_db


def run_out(key: str) -> None:
    Lease.objects.filter(key=key).update(until=clock.now() - timedelta(seconds=5))


def test_first_worker_has_it_and_the_second_learns_who() -> None:
    assert leases.take("u/", "one", 30) == "one"
    assert leases.take("u/", "two", 30) == "one"
    assert leases.take("u/", "one", 30) == "one"
    assert leases.taken(["u/", "v/"]) == {"u/": "one"}


def test_lease_that_ran_out_is_anybodys() -> None:
    leases.take("u/", "one", 30)
    run_out("u/")
    assert leases.taken(["u/"]) == {}
    assert leases.take("u/", "two", 30) == "two"
    assert leases.renew("one", 30) == frozenset()


def test_prolonged_lease_stays_and_released_one_is_free() -> None:
    leases.take("u/", "one", 30)
    leases.take("v/", "one", 30)
    run_out("u/")
    assert leases.renew("one", 30) == {"u/", "v/"}
    leases.release("two", ["u/"])
    assert leases.take("u/", "two", 30) == "one"
    leases.release("one", ["u/"])
    assert leases.take("u/", "two", 30) == "two"


def test_what_ended_processes_had_is_free_and_nothing_else() -> None:
    for key, worker in (("u/", "one"), ("v/", "one"), ("w/", "two")):
        leases.take(key, worker, 30)
    leases.end(["one"])
    assert leases.taken(["u/", "v/", "w/"]) == {"w/": "two"}


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_has_it() -> None:
    workers = [f"worker-{number}" for number in range(8)]

    def take(worker: str) -> str:
        try:
            return leases.take("u/", worker, 30)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(workers)) as threads:
        assert len(set(threads.map(take, workers))) == 1
