"""Periodic work on credentials. Safe to run twice; a lost run loses nothing: calls refresh what they need."""

from celery import shared_task


@shared_task(name="upstreams.refresh_credentials", ignore_result=True)
def refresh_credentials() -> None:
    """Refresh what ends soon; due every ten minutes."""
    from upstreams.oauth import sweep  # only where it runs: what the protocol takes is not loaded with every process

    sweep.sweep()


@shared_task(name="upstreams.send_notices", ignore_result=True)
def send_notices() -> None:
    """Mail those whose account has to be connected again; due every minute."""
    from upstreams.oauth import notices

    notices.send_due()
