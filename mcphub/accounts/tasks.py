"""Periodic work on people. Safe to run twice."""

from importlib import import_module

from celery import shared_task
from django.conf import settings


@shared_task(name="accounts.send_password_links", ignore_result=True)
def send_password_links() -> None:
    """Mail links to those who forgot their password; due every few seconds."""
    from mcphub.accounts import forgotten

    forgotten.send_due()


@shared_task(name="accounts.forget_sessions", ignore_result=True)
def forget_sessions() -> None:
    """Remove the browser sessions that have ended; due every hour."""
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
