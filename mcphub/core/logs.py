"""Logging: one line an event, as text or JSON, with secrets taken out.

Everything goes through the standard library's `logging`; `structlog` loggers and others end in the same
handler on standard error. `MCPHUB_LOG_LEVEL` is a level, and levels for modules: `INFO,gateway=DEBUG`.
"""

import logging.config
import re
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
MASK: Final = "•••"
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
TIME: Final = "%Y-%m-%dT%H:%M:%S.%fZ"
SECRET_NAME: Final = re.compile(
    r"authorization|cookie|password|passwd|secret|token|api[-_]?key|private[-_]?key|credential", re.IGNORECASE
)
SECRET_SHAPES: Final = (
    (re.compile(r"mcph_[a-z2-7]{16}_[a-z2-7]{4,}"), f"mcph_{MASK}"),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"(://[^/\s:@]+:)[^/\s@]+@"), rf"\1{MASK}@"),
)
QUIET: Final = {
    "asyncio": "ERROR",
    "celery": "WARNING",
    "daphne": "WARNING",
    "django.request": "ERROR",
    "httpx": "WARNING",
    "httpx2": "WARNING",
    "kombu": "WARNING",
    "uvicorn.websocket": "WARNING",
    "watchfiles": "WARNING",
}


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: values under secret names go, and what looks like a credential in any text."""
    for name, value in event.items():
        if name.startswith("_"):
            continue
        if SECRET_NAME.search(name) and value:
            event[name] = MASK
        elif isinstance(value, str):
            event[name] = without_secrets(value)
    return event


def on_one_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor for text: no value can end its line, begin another or steer a terminal.

    Tracebacks keep their lines.
    """
    for name, value in event.items():
        if isinstance(value, str) and name != "exception":
            event[name] = CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", value)
    return event


def without_secrets(text: str) -> str:
    """`text` with keys, bearer credentials and passwords in URLs masked."""
    for shape, mask in SECRET_SHAPES:
        text = shape.sub(mask, text)
    return text


def levels(text: str) -> tuple[str, dict[str, str]]:
    """The level of everything, and those of named modules. Raises `ValueError` that names a bad part."""
    root, modules = "INFO", {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        module, equals, level = part.rpartition("=")
        if level.upper() not in LEVELS:
            raise ValueError(f"{level!r} is not a log level; use one of {', '.join(LEVELS)}")
        if equals:
            modules[module] = level.upper()
        else:
            root = level.upper()
    return root, modules


def without_request(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Django attaches the request, whose text has the query in it: codes of sign-ins stand there."""
    event.pop("request", None)
    return event


def configure(options: Mapping[str, str]) -> None:
    """Set up logging for this process; `options` has `format` (text or json) and `level`. Django's LOGGING_CONFIG."""
    root, modules = levels(options["level"])
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt=TIME, utc=True),
    ]
    render: Any = structlog.dev.ConsoleRenderer(colors=False, sort_keys=False)
    if options["format"] == "json":
        render = structlog.processors.JSONRenderer(ensure_ascii=False)
    after = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        redact,
        *([on_one_line] if options["format"] == "text" else []),
        render,
    ]
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "hub": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": [*before, structlog.stdlib.ExtraAdder(), without_request],
                    "processors": after,
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "hub"}},
            "root": {"handlers": ["stderr"], "level": root},
            "loggers": {name: {"level": level} for name, level in {**QUIET, **modules}.items()}
            | {"django": {"handlers": [], "level": modules.get("django", root), "propagate": True}},
        }
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
