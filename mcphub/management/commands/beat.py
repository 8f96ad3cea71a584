"""`beat`: puts the periodic tasks of a scaled deployment into the queue; exactly one process does."""

from typing import Any

from django.core.management import BaseCommand

from mcphub.checks import TAG


class Command(BaseCommand):
    help = "Schedule periodic tasks; exactly one such process in a scaled deployment."
    requires_system_checks = [TAG]

    def handle(self, *args: Any, **options: Any) -> None:
        from mcphub.celery import app

        app.Beat(quiet=True).run()
