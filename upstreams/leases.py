"""Lease rows: who has what only one web process may have. Everything blocks on the database.

The database's clock counts, so that workers need not agree on the time.
"""

from collections.abc import Collection
from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now

from mcphub.core import clock
from upstreams.models import Lease

FORGET_AFTER = timedelta(hours=1)


def take(key: str, worker: str, lease_s: float) -> str:
    """The worker that has `key` from now on: `worker` itself when nobody has it."""
    length = timedelta(seconds=lease_s)
    while True:
        Lease.objects.bulk_create([Lease(key=key, worker=worker, until=clock.now())], ignore_conflicts=True)
        rows = Lease.objects.filter(key=key)
        if rows.filter(Q(worker=worker) | Q(until__lt=Now())).update(worker=worker, until=Now() + length):
            return worker
        if found := rows.values_list("worker", flat=True).first():
            return found


def renew(worker: str, lease_s: float) -> frozenset[str]:
    """Prolong everything that `worker` has; the keys of it. What it no longer has is missing."""
    mine = Lease.objects.filter(worker=worker)
    mine.update(until=Now() + timedelta(seconds=lease_s))
    Lease.objects.filter(until__lt=Now() - FORGET_AFTER).delete()
    return frozenset(mine.values_list("key", flat=True))


def release(worker: str, keys: Collection[str]) -> None:
    """Give up `keys`, as far as `worker` still has them."""
    Lease.objects.filter(worker=worker, key__in=keys).delete()


def end(workers: Collection[str]) -> None:
    """Give up everything that these workers had, whose processes have certainly ended."""
    Lease.objects.filter(worker__in=workers).delete()


def taken(keys: Collection[str]) -> dict[str, str]:
    """Those of `keys` that some worker has, and which."""
    return dict(Lease.objects.filter(key__in=keys, until__gte=Now()).values_list("key", "worker"))
