"""Periodic work on credentials and definitions. Safe to run twice: each looks for what is due."""

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


@shared_task(name="upstreams.count_tokens", ignore_result=True)
def count_tokens() -> None:
    """Count the tokens of definitions that are new; due every minute."""
    from upstreams.catalogue import count_tokens

    count_tokens()
