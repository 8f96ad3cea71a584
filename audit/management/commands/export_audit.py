import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit.services import Query, export
from mcphub.core.command import HubCommand


class Command(HubCommand):
    help = "Write the audit record, oldest first, as NDJSON or CSV to a file or to standard output."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=("ndjson", "csv"), default="ndjson")
        parser.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
        parser.add_argument("--org", default="", metavar="SLUG")
        parser.add_argument("--since", type=moment, metavar="DATE", help="ISO 8601; without an offset it is UTC")
        parser.add_argument("--until", type=moment, metavar="DATE", help="first moment that is left out")
        for name in ("kind", "outcome", "upstream", "principal-id", "call-id"):
            parser.add_argument(f"--{name}", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        names = ("org", "since", "until", "kind", "outcome", "upstream", "principal_id", "call_id")
        chunks = export(options["format"], Query(**{name: options[name] for name in names}))
        if options["output"] is None:
            _print(chunks)
        else:
            self._keep(options["output"], chunks)

    def _keep(self, path: Path, chunks: Iterator[bytes]) -> None:
        try:
            with path.open("wb") as file:
                file.writelines(chunks)
        except OSError as error:
            self.stop(f"{path}: {error.strerror}")
        self.say({"file": str(path), "bytes": path.stat().st_size}, f"written to {path}")


def _print(chunks: Iterator[bytes]) -> None:
    """To standard output; who stops reading (`| head`) has seen enough."""
    try:
        sys.stdout.buffer.writelines(chunks)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def moment(text: str) -> datetime:
    """An aware date from ISO 8601 text."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
