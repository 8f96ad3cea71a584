"""What is wrong with this installation, how to mend it, and where each setting came from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from django.conf import settings
from django.core.checks import ERROR
from django.db import DatabaseError, connection

from mcphub.accounts.models import ApiKey
from mcphub.checks import start_faults
from mcphub.core.env import HubSettings
from mcphub.core.keyring import keyring
from mcphub.core.limits import Limits
from mcphub.core.schema import is_migrated
from mcphub.core.starting import missing_keys
from upstreams.models import Upstream, UpstreamState
from upstreams.oauth.due import overdue
from upstreams.programs import program
from upstreams.selectors import config_fault

MASK: Final = "•••"
REDIS_S: Final = 2

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `fix` is "" when there is nothing to do."""

    level: Level
    about: str
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting with its value as text, secrets masked, and where it came from."""

    name: str
    value: str
    origin: str


def settings_table(hub: HubSettings) -> list[Setting]:
    """Every setting, in the order of the table."""
    return [
        Setting(f"MCPHUB_{name.upper()}", _shown(getattr(hub, name), secret=not item.repr), hub.origin(name))
        for name, item in type(hub).model_fields.items()
    ]


def _shown(value: Any, *, secret: bool) -> str:
    if value in ("", (), None):
        return ""
    if secret:
        return MASK
    if isinstance(value, Limits):
        usual = Limits()
        changed = {item.name: getattr(value, item.name) for item in fields(value)}
        return ",".join(f"{name}={now}" for name, now in changed.items() if now != getattr(usual, name))
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def findings() -> list[Finding]:
    """Everything that can be found out from here; parts that need the database are left out without it."""
    found = list(_start())
    database = _database()
    found.append(database)
    if database.level == "ok":
        found += [finding for look in NEEDING_TABLES for finding in look()]
    found += _redis()
    return found


def _start() -> Iterator[Finding]:
    for message in start_faults(settings.HUB, settings.START):
        level: Level = "problem" if message.level >= ERROR else "warning"
        yield Finding(level, f"settings ({message.id})", str(message.msg), str(message.hint or ""))


def _database() -> Finding:
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        words = " ".join(str(error).split())
        return Finding("problem", "database", f"does not answer: {words}", "Start it, or mend MCPHUB_DATABASE_URL.")
    if not is_migrated():
        return Finding("problem", "database", "has not the tables of this version", "Run: migrate")
    return Finding("ok", "database", f"{connection.vendor} answers, all migrations are applied")


def _keys() -> Iterator[Finding]:
    missing = missing_keys()
    for key_id, tables in sorted(missing.items()):
        text = f"the key with id {key_id} is missing; secrets in {', '.join(tables)} need it"
        yield Finding("problem", "encryption keys", text, "Put it back into MCPHUB_ENCRYPTION_KEYS.")
    if not missing:
        yield Finding("ok", "encryption keys", f"all stored secrets open; newest key {keyring().newest}")
    dead = ApiKey.objects.filter(revoked_at=None).exclude(digest_key_id__in=keyring().key_ids).count()
    if dead:
        yield Finding("warning", "API keys", f"{dead} were hashed with a key that is gone and open nothing any more")


def _upstreams() -> Iterator[Finding]:
    for row in Upstream.objects.filter(enabled=True).select_related("org", "state").order_by("org__slug", "slug"):
        about = f"upstream {row.org.slug}/{row.slug}"
        if fault := config_fault(row):
            yield Finding("problem", about, fault, "Mend it in the admin, or in the file that it comes from.")
            continue
        if row.is_stdio and row.command and "${" not in row.command and program(row.command) is None:
            yield Finding("problem", about, f"the command {row.command} is not installed here", "Install it.")
            continue
        state = row.state
        if state.state in (UpstreamState.State.DOWN, UpstreamState.State.RESTING):
            yield Finding(
                "problem", about, _with_tail(state), f"Look at it in the admin, then: refresh_catalogue {row.slug}"
            )


def _with_tail(state: UpstreamState) -> str:
    tail = "".join(f"\n    {line}" for line in state.stderr_tail.splitlines()[-5:])
    return (state.last_error or "is down") + tail


def _accounts() -> Iterator[Finding]:
    """Calls refresh what they need by themselves; without the sweep they have to wait for it."""
    if waiting := overdue():
        text = f"{waiting} are about to end, and no sweep has refreshed accounts for a while"
        yield Finding("warning", "refresh of accounts", text, "Run worker and beat (`up` has both).")


NEEDING_TABLES: Final[Sequence[Callable[[], Iterator[Finding]]]] = (_keys, _upstreams, _accounts)


def _redis() -> Iterator[Finding]:
    if not settings.HUB.redis_url:
        return
    import redis  # only where it is used: loading it takes a quarter of a second

    client = redis.Redis.from_url(settings.HUB.redis_url, socket_connect_timeout=REDIS_S, socket_timeout=REDIS_S)
    try:
        client.ping()
    except (redis.exceptions.RedisError, OSError):
        yield Finding("problem", "Redis", "does not answer", "Start it, or mend MCPHUB_REDIS_URL.")
    else:
        yield Finding("ok", "Redis", "answers")
    finally:
        client.close()


def report() -> Mapping[str, Any]:
    """Findings and settings as JSON types."""
    return {
        "findings": [
            {"level": item.level, "about": item.about, "text": item.text, "fix": item.fix} for item in findings()
        ],
        "settings": [
            {"name": item.name, "value": item.value, "origin": item.origin} for item in settings_table(settings.HUB)
        ],
    }
