"""`worker`: takes the background tasks of a scaled deployment from Redis."""

import argparse
from typing import Any

from django.core.management import BaseCommand, CommandError

from mcphub.checks import TAG
from mcphub.core.starting import CannotStart, check_database, check_keys


class Command(BaseCommand):
    help = "Run background tasks; at least one such process in a scaled deployment."
    requires_system_checks = [TAG]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--concurrency", type=int, default=2, help="tasks at the same time (default: 2)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            check_database()
            check_keys()
        except CannotStart as fault:
            raise CommandError(str(fault)) from None
        from mcphub.celery import app

        app.worker_main(["worker", "--pool=threads", f"--concurrency={options['concurrency']}", "--loglevel=WARNING"])
