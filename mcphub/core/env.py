"""The settings of the hub: one typed table, read once (DESIGN: precedence flag > environment > file > default)."""

import atexit
import ipaddress
import secrets as random
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, ValidationInfo, field_validator

from mcphub.core import logs, sources
from mcphub.core.addresses import is_loopback
from mcphub.core.flags import Flags, StartOptions
from mcphub.core.keyring import Keyring
from mcphub.core.limits import Limits
from mcphub.core.mailserver import mail_server
from mcphub.core.netguard import parse_allowed

CLOUD_NOTICE_S: Final = 5
POSTGRESQL: Final = ("postgresql", "postgres")
DATABASE_FORMS: Final = "postgresql://user:password@host:port/name?pool_max=10, or sqlite:///path"

SQLITE_S: Final = 5.0
POSTGRESQL_S: Final = 1.5
"""How long the request of a client may wait for the database, so that the refusal is out in 5 and 2 s (F27, F28)."""

SQLITE_PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; PRAGMA cache_size=-512;"
)
"""Half a megabyte of pages for each connection: several are kept, and the system keeps the file in memory anyway."""

RECONNECT_S: Final = 1.0
"""How long the pool tries again by itself. The next use begins anew: a database that is back is found soon."""


class SettingsFault(Exception):
    """The settings cannot be used; `faults` names every fault with its place."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class HubSettings(BaseModel):
    """What `MCPHUB_<NAME>` can set. Lists are comma-separated."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    mode: Literal["standalone", "cloud"] = "standalone"
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    server_url: str = ""
    data_dir: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("mcphub")))
    database_url: str = Field(default="", repr=False)
    database_user: str = ""
    database_password: str = Field(default="", repr=False)
    redis_url: str = Field(default="", repr=False)
    secret_key: str = Field(default="", repr=False)
    encryption_keys: tuple[str, ...] = Field(default=(), repr=False)
    sign_in: tuple[str, ...] = ()
    google_client_id: str = ""
    google_client_secret: str = Field(default="", repr=False)
    github_client_id: str = ""
    github_client_secret: str = Field(default="", repr=False)
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = Field(default="", repr=False)
    admin_key: str = Field(default="", repr=False)
    runner: Literal["auto", "e2b", "bubblewrap", "subprocess"] = "auto"
    allow_stdio: bool | None = None
    e2b_api_key: str = Field(default="", repr=False)
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    egress_allow: tuple[str, ...] = ()
    audit_retention_days: int = Field(default=365, ge=1, le=36_500)
    audit_fsync: bool = False
    email_url: str = Field(default="", repr=False)
    metrics_token: str = Field(default="", repr=False)
    log_format: Literal["text", "json"] = "text"
    log_level: str = "INFO"
    releases_url: str = ""
    limits: Limits = Field(default="", validate_default=True)

    @field_validator(
        "encryption_keys",
        "sign_in",
        "allowed_hosts",
        "allowed_origins",
        "trusted_proxies",
        "egress_allow",
        mode="before",
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(filter(None, (part.strip() for part in value.split(","))))
        return value

    @field_validator("data_dir", mode="after")
    @classmethod
    def _home(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("trusted_proxies", mode="after")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            ipaddress.ip_network(entry, strict=False)
        return value

    @field_validator("egress_allow", mode="after")
    @classmethod
    def _places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            parse_allowed(entry)
        return value

    @field_validator("database_url", mode="after")
    @classmethod
    def _database(cls, value: str) -> str:
        if value and not _is_database(value):
            raise ValueError(f"must have the form {DATABASE_FORMS}")  # without the value: a password may be in it
        return value

    @field_validator("email_url", mode="after")
    @classmethod
    def _mail(cls, value: str) -> str:
        if value:
            mail_server(value)
        return value

    @field_validator("log_level", mode="after")
    @classmethod
    def _levels(cls, value: str) -> str:
        logs.levels(value)
        return value

    @field_validator("server_url", mode="after")
    @classmethod
    def _no_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @field_validator("limits", mode="before")
    @classmethod
    def _limits(cls, value: Any, info: ValidationInfo) -> Any:
        cloud = info.data.get("mode") == "cloud"
        return Limits(drain_notice_s=CLOUD_NOTICE_S if cloud else 0).override(str(value))

    def origin(self, name: str) -> str:
        """Where the value of a setting came from, in words."""
        return self._origins.get(name, "default")

    @property
    def loopback(self) -> bool:
        """Whether the hub is bound to this machine only."""
        return is_loopback(self.host)


def origin_of(url: str) -> str:
    """`scheme://host[:port]` of a URL, or "" when it has none."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


_flags = Flags()


def use(flags: Flags) -> None:
    """Let these flags of the command line count, before anything reads the settings."""
    global _flags
    _flags = flags
    load.cache_clear()


def start_options() -> StartOptions:
    """The options of this start."""
    return _flags.start


@lru_cache(maxsize=1)
def load() -> HubSettings:
    """Read every source once; in standalone mode make the missing secrets in the data directory.

    Raises `SettingsFault` with all faults together.
    """
    known = frozenset(HubSettings.model_fields)
    found = sources.gather(known, _own_directory(_flags), sources.environment(), _flags.settings_file)
    faults = list(found.faults)
    try:
        hub = HubSettings.model_validate(found.values())
    except ValidationError as error:
        faults += [_sentence(fault, found.origins) for fault in error.errors()]
    if faults:
        raise SettingsFault(tuple(faults))
    hub._origins = found.origins
    return _completed(hub)


def _own_directory(flags: Flags) -> dict[str, str]:
    if not flags.start.ephemeral:
        return flags.settings
    folder = tempfile.mkdtemp(prefix="mcphub-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # also when the start is refused: keys are in it
    return {**flags.settings, "data_dir": folder}


def _sentence(fault: Any, origins: dict[str, str]) -> str:
    name = str(fault["loc"][0]) if fault["loc"] else "settings"
    return f"{origins.get(name, sources.PREFIX + name.upper())}: {fault['msg']}"


def _completed(hub: HubSettings) -> HubSettings:
    """Fill in what depends on other settings: secrets, sign-in and stdio by mode and address."""
    standalone = hub.mode == "standalone"
    changes: dict[str, Any] = {}
    if not hub.sign_in:
        changes["sign_in"] = ("dev", "password") if standalone and hub.loopback else ("password",)
    if hub.allow_stdio is None:
        changes["allow_stdio"] = standalone
    hub = hub.model_copy(update=changes)
    if not standalone:
        return hub
    try:
        return with_own_secrets(hub)
    except OSError as error:
        where = f"{hub.data_dir} ({hub.origin('data_dir')})"
        raise SettingsFault((f"the data folder {where} cannot be used: {error.strerror}",)) from None


def with_own_secrets(hub: HubSettings) -> HubSettings:
    """Fill in secrets kept under `<data_dir>/secrets/`, one 0600 file each, made on first start."""
    return hub.model_copy(
        update={
            "secret_key": hub.secret_key or _own_secret(hub.data_dir, "secret_key"),
            "encryption_keys": hub.encryption_keys or (_own_secret(hub.data_dir, "encryption_key"),),
        }
    )


def _own_secret(data_dir: Path, name: str) -> str:
    path = data_dir / "secrets" / name
    if not path.exists():
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # `parents` of the next line would be for everybody
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(random.token_urlsafe(48))
    return path.read_text().strip()


def database(hub: HubSettings) -> dict[str, Any]:
    """Django's `DATABASES["default"]`: SQLite in the data directory, or what `MCPHUB_DATABASE_URL` names.

    The URL is `postgresql://user:password@host:port/name?pool_min=…&pool_max=…` or `sqlite:///path`.
    """
    url = urlsplit(hub.database_url)
    if not hub.database_url or url.scheme == "sqlite":
        hub.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(url.path[1:]) if hub.database_url else str(hub.data_dir / "mcphub.sqlite3"),
            "OPTIONS": {
                "timeout": 5,
                "transaction_mode": "IMMEDIATE",
                "init_command": SQLITE_PRAGMAS,
            },
            "TEST": {"NAME": str(hub.data_dir / "test.sqlite3")},
        }
    options = dict(parse_qsl(url.query))
    pool = _pool(options)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(url.path[1:]),
        "HOST": url.hostname or options.pop("host", ""),
        "PORT": url.port or "",
        "USER": hub.database_user or unquote(url.username or ""),
        "PASSWORD": hub.database_password or unquote(url.password or ""),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 2, "tcp_user_timeout": 5_000, **options, "pool": pool},
    }


def storage_s(hub: HubSettings) -> float:
    """How many seconds a client's request may wait for the database."""
    return POSTGRESQL_S if hub.database_url.startswith("postgres") else SQLITE_S


def _is_database(text: str) -> bool:
    try:
        url = urlsplit(text)
        pool = _pool(dict(parse_qsl(url.query)))
        known = url.scheme == "sqlite" or (url.scheme in POSTGRESQL and (url.port or 1) > 0)
    except ValueError:
        return False
    return known and 0 <= pool["min_size"] <= pool["max_size"] and pool["max_size"] > 0 and pool["timeout"] > 0


def _pool(options: dict[str, str]) -> dict[str, float]:
    """What `options` (query of the database's URL) say of the pool, taken out of them. Raises `ValueError`."""
    return {
        "min_size": int(options.pop("pool_min", 1)),
        "max_size": int(options.pop("pool_max", 10)),
        "timeout": float(options.pop("pool_timeout", 1.25)),
        "reconnect_timeout": RECONNECT_S,
    }


def is_scaled(hub: HubSettings) -> bool:
    """Whether other web processes may work on the same database."""
    return bool(hub.redis_url) and hub.database_url.startswith("postgres")


def channel_layers(hub: HubSettings) -> dict[str, Any]:
    """Django's `CHANNEL_LAYERS`: over Redis, encrypted by keys of the ring; in memory without Redis."""
    if not hub.redis_url:
        return {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    ring = Keyring(hub.encryption_keys) if hub.encryption_keys else None
    keys = [ring.key("channel-layer", key_id) for key_id in ring.key_ids] if ring else []
    return {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [hub.redis_url], "prefix": "mcphub", "symmetric_encryption_keys": keys},
        }
    }
