"""Reading the text of an `mcpServers` file: columns of `Upstream`, or every fault with its place."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from mcphub.core.strictjson import BadJson, loads
from upstreams import variables
from upstreams.accountform import account_faults
from upstreams.models import CredentialKind, CredentialMode, SharingChoice, TransportChoice, Upstream
from upstreams.programs import program
from upstreams.selectors import stdio_allowed

TRANSPORTS: Final[Mapping[str, str]] = {
    "stdio": "stdio",
    "sse": "sse",
    "http": "http",
    "streamable-http": "http",
    "streamable_http": "http",
    "streamablehttp": "http",
}
KNOWN: Final = frozenset(
    {
        "type",
        "transport",
        "url",
        "command",
        "args",
        "env",
        "headers",
        "disabledTools",
        "disabled",
        "oauth",
        "credential",
        "sharing",
        "description",
    }
)
CREDENTIAL: Final[Mapping[str, str]] = {
    "mode": "credential_mode",
    "kind": "credential_kind",
    "header": "key_header",
    "format": "key_format",
    "help": "key_help",
}
"""Member of an entry's `credential` → column of `Upstream`."""

OAUTH: Final[Mapping[str, type]] = {
    "client_id": str,
    "client_secret": str,
    "scopes": list,
    "issuer": str,
    "grant_type": str,
    "token_endpoint_auth_method": str,
    "private_key": str,
    "signing_algorithm": str,
}
OAUTH_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "grant_type": ("authorization_code", "client_credentials"),
    "token_endpoint_auth_method": ("none", "client_secret_basic", "client_secret_post", "private_key_jwt"),
    "signing_algorithm": ("RS256", "PS256", "ES256", "EdDSA"),
}
PAIR_NAMES: Final[Mapping[str, re.Pattern[str]]] = {
    "env": re.compile(r"\A[^=\s\0]+\Z"),
    "headers": re.compile(r"\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z"),
    "variables": variables.NAME,
}
HEADER_VALUE: Final = re.compile(r"\A[^\x00-\x08\x0a-\x1f\x7f]*\Z")
MAX_BYTES: Final = 1024 * 1024
MAX_NAME: Final = 80
HIDDEN_PREFIX: Final = "MCPHUB_"
PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about the document: `place` is a path in it ("mcpServers.time.url") or a line."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}" if self.place else self.text


@dataclass(slots=True)
class EntryReader:
    """Collects what is wrong with one entry while reading it."""

    place: str
    entry: Mapping[str, Any]
    faults: list[Remark]
    warnings: list[Remark]

    def fault(self, key: str, text: str) -> None:
        self.faults.append(Remark(f"{self.place}.{key}" if key else self.place, text))

    def text(self, key: str) -> str:
        value = self.entry.get(key, "")
        if not isinstance(value, str):
            self.fault(key, "must be text")
            return ""
        return value.strip()

    def flag(self, key: str) -> bool:
        value = self.entry.get(key, False)
        if not isinstance(value, bool):
            self.fault(key, "must be true or false")
        return value is True

    def texts(self, key: str) -> list[str]:
        value = self.entry.get(key) or []
        if not isinstance(value, list):
            self.fault(key, "must be a list of texts")
            return []
        return [
            text for number, part in enumerate(value) if (text := self._scalar(f"{key}[{number}]", part)) is not None
        ]

    def pairs(self, key: str) -> dict[str, str]:
        value = self.entry.get(key) or {}
        if not isinstance(value, Mapping):
            self.fault(key, "must be an object of texts")
            return {}
        pairs = {}
        for name, inner in value.items():
            text = self._scalar(f"{key}.{name}", inner)
            if text is None:
                continue
            if fault := pair_fault(key, name, text):
                self.fault(f"{key}.{name}", fault)
            pairs[name] = text
        return pairs

    def _scalar(self, place: str, value: Any) -> str | None:
        if isinstance(value, bool | int | float):
            return json.dumps(value)
        if isinstance(value, str) and "\0" not in value:
            return value
        self.fault(place, "must be text")
        return None


def pair_fault(key: str, name: str, value: str) -> str:
    """Why this pair cannot stand in `env`, `headers` or `variables`, in a few words; "" when it can."""
    if not PAIR_NAMES[key].match(name):
        return f"“{name}” is not a usable name"
    if key == "headers" and not HEADER_VALUE.match(value):
        return f"the value of “{name}” has line breaks or other control characters"
    return ""


def entries_of(document: str | bytes, faults: list[Remark]) -> dict[str, Mapping[str, Any]]:
    """The entries of `mcpServers` by name; what is wrong with the document as a whole goes to `faults`."""
    parsed = _parse(document, faults)
    if faults:
        return {}
    servers = parsed.get("mcpServers") if isinstance(parsed, dict) else None
    if not isinstance(servers, dict):
        faults.append(Remark("mcpServers", "the document must be an object with an object “mcpServers”"))
        return {}
    good: dict[str, Mapping[str, Any]] = {}
    for name, entry in servers.items():
        if not isinstance(entry, dict):
            faults.append(Remark(f"mcpServers.{name}", "must be an object"))
        elif not name.strip() or len(name) > MAX_NAME:
            faults.append(Remark(f"mcpServers.{name}", f"the name must have 1–{MAX_NAME} characters"))
        else:
            good[name] = entry
    return good


def _parse(document: str | bytes, faults: list[Remark]) -> Any:
    raw = document.encode("utf-8", "replace") if isinstance(document, str) else document
    if len(raw) > MAX_BYTES:
        faults.append(Remark("", f"the document is larger than {MAX_BYTES} bytes"))
        return None
    try:
        return loads(raw)
    except BadJson as error:
        cause = error.__cause__
        if isinstance(cause, json.JSONDecodeError):
            faults.append(Remark(f"line {cause.lineno}, column {cause.colno}", cause.msg))
        else:
            faults += [Remark("", f"the name “{name}” stands twice in one object") for name in _repeated(raw)] or [
                Remark("", str(error))
            ]
        return None


def _repeated(raw: bytes) -> list[str]:
    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        found.extend(dict.fromkeys(name for name in names if names.count(name) > 1))
        return dict(pairs)

    try:
        json.loads(raw, object_pairs_hook=note)
    except (ValueError, RecursionError):
        return []
    return found


def fields_of(reader: EntryReader, environment: Mapping[str, str], trust_hosts: bool) -> dict[str, Any]:
    """Columns of `Upstream` for one entry (see `importing.plan_import` for the two switches)."""
    entry = reader.entry
    fields: dict[str, Any] = {
        "transport": _transport(reader),
        "url": reader.text("url"),
        "command": reader.text("command"),
        "args": reader.texts("args"),
        "env": reader.pairs("env"),
        "headers": reader.pairs("headers"),
        "oauth": _oauth(reader),
        "disabled_tools": reader.texts("disabledTools"),
        "sharing": _sharing(reader),
        "enabled": not reader.flag("disabled"),
        **_credential(reader),
    }
    reader.warnings += [Remark(f"{reader.place}.{key}", "is not used") for key in entry if key not in KNOWN]
    fields["variables"] = _variables(reader, environment)
    fields["egress_allow"] = []
    if fields["transport"] == TransportChoice.STDIO:
        _check_command(reader, fields)
    elif fields["url"]:
        _check_url(reader, fields, trust_hosts)
    return fields


def _transport(reader: EntryReader) -> str:
    command, url = reader.entry.get("command"), reader.entry.get("url")
    if bool(command) == bool(url):
        reader.fault("", "needs either “command” or “url”" if not command else "has both “command” and “url”")
    key = "type" if "type" in reader.entry else "transport"
    named = reader.text(key)
    if not named:
        return "stdio" if command else "auto"
    transport = TRANSPORTS.get(named.lower())
    if transport is None:
        reader.fault(key, f"unknown type “{named}”; use stdio, http or sse")
        return "auto"
    if (transport == "stdio") == bool(url) and bool(command) != bool(url):
        reader.fault(key, f"“{named}” does not go with “{'url' if url else 'command'}”")
    return transport


def _sharing(reader: EntryReader) -> str:
    named = reader.text("sharing")
    if named not in SharingChoice.values:
        reader.fault("sharing", f"unknown “{named}”; use {', '.join(filter(None, SharingChoice.values))}")
        return ""
    return named


def _credential(reader: EntryReader) -> dict[str, str]:
    """Whose account calls run under; where the entry does not say, as its `oauth` block or the column has it."""
    value = reader.entry.get("credential") or {}
    if not isinstance(value, Mapping) or not all(isinstance(each, str) for each in value.values()):
        reader.fault("credential", f"must be an object of texts: {', '.join(CREDENTIAL)}")
        return {}
    for key in value.keys() - CREDENTIAL.keys():
        reader.warnings.append(Remark(f"{reader.place}.credential.{key}", "is not used"))
    columns: dict[str, Any] = {name: Upstream._meta.get_field(column) for name, column in CREDENTIAL.items()}
    usual = {field.name: field.get_default() for field in columns.values()} | _account(reader)
    fields = {field.name: value.get(name, usual[field.name]) for name, field in columns.items()}
    for name, field in columns.items():
        choices = [choice for choice, _ in field.flatchoices]
        if choices and fields[field.name] not in choices:
            reader.fault(f"credential.{name}", f"unknown “{fields[field.name]}”; use {', '.join(choices)}")
    faults = account_faults(
        {**fields, "sharing": reader.entry.get("sharing", ""), "transport": _transport_of(reader)}
    )
    for column, fault in faults:
        reader.fault(f"credential: {column}", fault)
    return fields


def _transport_of(reader: EntryReader) -> str:
    return "stdio" if reader.entry.get("command") else "http"


def _oauth(reader: EntryReader) -> dict[str, Any]:
    value = reader.entry.get("oauth") or {}
    if not isinstance(value, Mapping):
        reader.fault("oauth", "must be an object with client_id, client_secret, scopes")
        return {}
    for key, shape in OAUTH.items():
        if key in value and not isinstance(value[key], shape):
            reader.fault(f"oauth.{key}", "must be a list of texts" if shape is list else "must be text")
    reader.warnings += [Remark(f"{reader.place}.oauth.{key}", "is not used") for key in value if key not in OAUTH]
    known = {key: inner for key, inner in value.items() if key in OAUTH}
    for key, fault in oauth_faults(known):
        reader.fault(f"oauth.{key}", fault)
    return known


def oauth_faults(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with OAuth settings, by key, in a few words."""
    for key, allowed in OAUTH_CHOICES.items():
        if value.get(key) and value[key] not in allowed:
            yield key, f"must be one of {', '.join(allowed)}"
    if value.get("grant_type") == "client_credentials" and not value.get("client_id"):
        yield "client_id", "is needed for the client credentials grant"
    if value.get("issuer") and url_fault(str(value["issuer"])):
        yield "issuer", "must be the http or https URL of an authorization server"


def _account(reader: EntryReader) -> dict[str, str]:
    """Whose account calls run under: an `oauth` block means each person's own, or the hub's own for its own grant."""
    value = reader.entry.get("oauth")
    if not isinstance(value, Mapping):
        return {"credential_mode": CredentialMode.NONE, "credential_kind": CredentialKind.API_KEY}
    itself = value.get("grant_type") == "client_credentials"
    return {
        "credential_mode": CredentialMode.SHARED if itself else CredentialMode.PER_USER,
        "credential_kind": CredentialKind.OAUTH,
    }


def _variables(reader: EntryReader, environment: Mapping[str, str]) -> dict[str, str]:
    known = {name: value for name, value in environment.items() if not name.startswith(HIDDEN_PREFIX)}
    taken: dict[str, str] = {}
    for place, text in _written(reader.entry):
        for name in variables.required_names([text]):
            if name not in known and name not in variables.BUILT_IN:
                reader.fault(place, f"the variable ${{{name}}} is not defined")
        if place.startswith(("command", "args")):
            for name in variables.secrets_in([text], known):
                reader.fault(place, f"${{{name}}} is a secret: {variables.IN_ARGV}")
        names = variables.mentioned_names([text])
        taken |= {name: known[name] for name in names if name in known and name not in variables.BUILT_IN}
    return taken


def _written(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every text of an entry that may hold `${VARIABLES}`, with its place."""
    for key in ("url", "command"):
        if isinstance(entry.get(key), str):
            yield key, entry[key]
    if isinstance(entry.get("args"), list):
        yield from ((f"args[{number}]", part) for number, part in enumerate(entry["args"]) if isinstance(part, str))
    for key in ("env", "headers", "oauth"):
        if isinstance(entry.get(key), Mapping):
            yield from ((f"{key}.{name}", part) for name, part in entry[key].items() if isinstance(part, str))


def _check_command(reader: EntryReader, fields: Mapping[str, Any]) -> None:
    command = fields["command"]
    if not stdio_allowed():
        reader.fault("command", "commands are switched off on this installation (MCPHUB_ALLOW_STDIO)")
    elif command and "${" not in command and program(command) is None:
        reader.warnings.append(Remark(f"{reader.place}.command", f"“{command}” is not installed here"))


def _check_url(reader: EntryReader, fields: dict[str, Any], trust_hosts: bool) -> None:
    try:
        url = variables.fill(fields["url"], fields["variables"])
    except variables.UndefinedVariable:
        return
    if fault := url_fault(url):
        reader.fault("url", fault)
    elif trust_hosts:
        fields["egress_allow"] = [host_and_port(url)]


def url_fault(url: str) -> str:
    """Why this URL (variables filled in) cannot be an upstream's, as a sentence; "" when it can."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "This is not a URL."
    if parts.scheme not in PORTS or not parts.hostname or port == 0:
        return "Write a URL that begins with http:// or https:// and names a host."
    if parts.username is not None or parts.password is not None:
        return "A password in the URL would be shown; put it into a header."
    return ""


def host_and_port(url: str) -> str:
    """The `host:port` that `url` names, as `egress_allow` writes it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or PORTS[parts.scheme]}"
