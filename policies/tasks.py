"""Work on policy that takes longer than a page may."""

from celery import shared_task

from policies.approvals.tending import tend
from policies.replays import work


@shared_task(name="policies.replays", ignore_result=True)
def replays() -> None:
    """Work on replays that people asked for; due every few seconds."""
    work()


@shared_task(name="policies.approvals", ignore_result=True)
def approvals() -> None:
    """Tell those who approve what waits, and end what nobody answered; due every few seconds."""
    tend()
