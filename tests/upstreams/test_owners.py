"""Which worker has what: taken once, given up in order."""

import asyncio

import pytest

from mcphub.core.aio import in_thread
from upstreams import leases
from upstreams.owners import Owners

pytestmark = pytest.mark.django_db(transaction=True)


async def test_what_is_given_up_and_taken_at_the_same_time_is_held() -> None:
    owners = Owners("one", 30, lambda _: False)
    for _ in range(20):
        await owners.owner("u/")
        await asyncio.gather(owners.release(["u/"]), owners.owner("u/"))
        assert owners.has("u/") == ("u/" in await in_thread(leases.taken, ["u/"]))
        assert owners.has("u/")


async def test_what_ended_workers_had_is_free() -> None:
    gone: set[str] = set()
    owners = Owners("two", 30, gone.__contains__)
    await in_thread(leases.take, "u/", "one", 30)
    await in_thread(leases.take, "v/", "one", 30)
    assert await owners.free(["u/"]) == []
    await owners.doubt("u/", "one")
    assert await owners.owner("u/") == "one"
    gone.add("one")
    assert await owners.free(["u/"]) == ["u/"]
    owners.forget("u/")
    assert await owners.owner("u/") == "two"


async def test_the_lease_of_a_worker_that_ended_is_taken_with_the_next_call() -> None:
    gone: set[str] = set()
    owners = Owners("two", 30, gone.__contains__)
    await in_thread(leases.take, "u/", "one", 30)
    assert await owners.owner("u/") == "one"
    gone.add("one")
    await owners.doubt("u/", "one")
    assert await owners.owner("u/") == "two"
