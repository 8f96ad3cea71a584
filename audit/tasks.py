"""Periodic work on the record. Safe to run twice; a lost run loses nothing, because each looks for what is due."""

from celery import shared_task

from audit import services


@shared_task(name="audit.reconcile", ignore_result=True)
def reconcile() -> None:
    """Close the calls of processes that died; due every minute."""
    services.reconcile()


@shared_task(name="audit.prune", ignore_result=True)
def prune() -> None:
    """Remove what is older than the retention setting; due every hour."""
    services.prune()
