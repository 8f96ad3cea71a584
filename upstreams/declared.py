"""Upstreams and the operator's word on their definitions, as parts of the configuration document."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from mcphub.accounts import quotas, services
from mcphub.accounts.declared.sections import BadPart, Section, Sources
from mcphub.accounts.models import Org
from mcphub.core.keyring import KeyringError
from mcphub.core.netguard import parse_allowed
from upstreams import acts, naming
from upstreams.clientheaders import faults_of
from upstreams.detecting import keys_in
from upstreams.models import Definition, KindChoice, Upstream, UpstreamState
from upstreams.secretfiles import MOST, SecretFile, decoded, fault_of, packed, safe_name
from upstreams.selectors import Unusable, spec_of
from upstreams.serversfile import pair_fault, url_fault

STORED: Final = {"stored": True}
"""A secret that stays what it is. Other ways to name one: `{env: NAME}`, `{file: path}`."""

_A_FILE: Final = {False: "{file: path}", True: "{name: …, content: base64}"}
PAIRS: Final = ("headers", "env", "variables")
_REFERENCE: Final = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::-[^}]*)?\}")
_SCHEME: Final = re.compile(r"\A[A-Za-z]{0,12} ?\Z")


class UpstreamSection(Section):
    name = "upstreams"
    model = Upstream
    fields = (
        "transport", "url", "command", "args", "sharing", "enabled", "trusted", "credential_mode", "credential_kind",
        "key_header", "key_format", "key_help", "forward_headers", "claims", "may_elicit", "may_sample",
        "may_list_roots", "idempotent", "disabled_tools", "egress_allow", "payload_mode", "path_alias", "connect_s",
        "call_s", "call_hard_s", "heartbeat_s", "discovery_s",
    )  # fmt: skip

    def key(self, row: Any) -> str:
        return str(row.slug)

    def known(self) -> Collection[str]:
        return {*self.fields, *PAIRS, "name", "files", "oauth"}

    def make(self, org: Org, key: str) -> Upstream:
        if fault := naming.slug_fault(key):
            raise BadPart("", fault)
        if Upstream.objects.for_org(org).filter(path_alias=key).exists():
            raise BadPart("", "is the path alias of another upstream")
        services.lock(org)
        if fault := quotas.fault(org, "upstreams", Upstream.objects.for_org(org).count()):
            raise BadPart("", fault)
        return Upstream(org=org, slug=key)

    def rows(self, org: Org) -> Iterable[Any]:
        return Upstream.objects.for_org(org).filter(source="").select_related("org", "state")

    def out(self, row: Any) -> dict[str, Any]:
        said = {"name": row.name} if row.name != row.slug else {}
        said |= super().out(row)
        for column in PAIRS:
            shown = row.shown_variables if column == "variables" else ()
            if pairs := {key: _said(value, shown=key in shown) for key, value in getattr(row, column).items()}:
                said[column] = pairs
        if row.oauth:
            said["oauth"] = STORED
        if row.files:
            said["files"] = dict.fromkeys(row.files, STORED)
        return said

    def take(self, row: Any, given: Mapping[str, Any], sources: Sources) -> None:
        super().take(row, given, sources)
        row.name = self._shaped("name", given.get("name", row.slug))
        for column in PAIRS:
            pairs = _mapping(given, column)
            setattr(row, column, {key: _value(row, column, key, value, sources) for key, value in pairs.items()})
        row.shown_variables = sorted(
            key for key, value in _mapping(given, "variables").items() if isinstance(value, str)
        )
        files = _mapping(given, "files")
        row.files = {key: _file(row, key, value, sources) for key, value in files.items()} or None
        if "oauth" not in given:
            row.oauth = {}
        elif given["oauth"] != STORED:
            raise BadPart("oauth", "write {stored: true}, which keeps what is stored, or leave it out")

    def check(self, row: Any) -> None:
        super().check(row)
        _check_pairs(row)
        if row.is_stdio != bool(row.command) or row.is_stdio == bool(row.url):
            raise BadPart("", "needs “command” with transport stdio, else “url”")
        for entry in row.egress_allow:
            try:
                parse_allowed(entry)
            except ValueError as error:
                raise BadPart("egress_allow", str(error)) from None
        for fault in faults_of(row.forward_headers):
            raise BadPart("forward_headers", fault)
        if row.is_stdio and (row.forward_headers or row.claims == "header"):
            raise BadPart("", "a command is given no headers")
        shown = (f"{name}={row.variables[name]}" for name in row.shown_variables)
        for text in (row.url, row.command, *row.args, *shown):
            for pasted in keys_in(text):
                raise BadPart("", f"there is a {pasted.what} ({pasted.hint}) in the open; make it a variable")
        _check_usable(row)

    def facts(self, row: Any) -> dict[str, Any]:
        return acts.facts_of(row)


def _check_pairs(row: Upstream) -> None:
    for column in PAIRS:
        for key, value in getattr(row, column).items():
            if fault := pair_fault(column, key, value):
                raise BadPart(f"{column}.{key}", fault)
    for key in row.files or ():
        if pair_fault("variables", key, "") or key in row.variables:
            raise BadPart(f"files.{key}", "is not usable as a name, or a variable already")
    if len(row.files or ()) > MOST:
        raise BadPart("files", f"an upstream has {MOST} files at most")


def _check_usable(row: Upstream) -> None:
    """What only shows when variables are filled in. A new row has no state yet, which the specification reads."""
    if row._state.adding:
        row.state = UpstreamState(upstream=row)
    try:
        spec = spec_of(row)
    except Unusable as fault:
        raise BadPart("", str(fault)) from None
    if spec.url and (text := url_fault(spec.url)):
        raise BadPart("url", text)


def _said(value: str, *, shown: bool) -> Any:
    """The text where it is no secret: a variable that may be shown, or references with a scheme before them."""
    rest = _REFERENCE.sub("", value)
    plain = shown or (rest != value and _SCHEME.match(rest) is not None)
    return value if plain else dict(STORED)


def _mapping(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = given.get(name) or {}
    if not isinstance(value, dict):
        raise BadPart(name, "must be a mapping")
    return {str(key): inner for key, inner in value.items()}


def _value(row: Upstream, column: str, key: str, value: Any, sources: Sources) -> str:
    place = f"{column}.{key}"
    if isinstance(value, str):
        return value
    if _is_given(value, sources):
        return str(value["secret"])
    if value == STORED:
        stored = _stored(row, column, place)
        if key not in stored:
            raise BadPart(place, "nothing is stored here")
        return str(stored[key])
    if isinstance(value, dict) and value.keys() == {"env"} and isinstance(value["env"], str):
        found = sources.environment.get(value["env"])
        if found is None or value["env"].startswith("MCPHUB_"):
            raise BadPart(place, f"the environment has no {value['env']}")
        return found
    if isinstance(value, dict) and value.keys() == {"file"} and sources.folder is not None:
        return _read(value["file"], place, sources).decode("utf-8", "replace").rstrip("\n")
    raise BadPart(place, "write text, {stored: true}, {env: NAME} or {file: path}")


def _file(row: Upstream, key: str, value: Any, sources: Sources) -> dict[str, str]:
    place = f"files.{key}"
    if value == STORED:
        stored = _stored(row, "files", place)
        if key not in stored:
            raise BadPart(place, "nothing is stored here")
        return dict(stored[key])
    name, content = _content(value, place, sources)
    if fault := fault_of(content):
        raise BadPart(place, fault)
    return packed(SecretFile(safe_name(name), content))


def _content(value: Any, place: str, sources: Sources) -> tuple[str, bytes]:
    if sources.folder is not None and isinstance(value, dict) and value.keys() == {"file"}:
        return str(value["file"]), _read(value["file"], place, sources)
    if sources.folder is None and isinstance(value, dict) and value.keys() == {"name", "content"}:
        try:
            return str(value["name"]), decoded(str(value["content"]))
        except ValueError:
            raise BadPart(place, "the content is not base64") from None
    raise BadPart(place, f"write {{stored: true}} or {_A_FILE[sources.folder is None]}")


def _is_given(value: Any, sources: Sources) -> bool:
    """Whether this is a secret as the API is sent it; in a file none stands."""
    given = isinstance(value, dict) and value.keys() == {"secret"} and isinstance(value["secret"], str)
    return given and sources.folder is None


def _stored(row: Upstream, column: str, place: str) -> Mapping[str, Any]:
    """What the database holds of the column, whatever was set on `row` meanwhile."""
    try:
        found = Upstream.objects.filter(pk=row.pk).first()
        return (getattr(found, column) or {}) if found is not None else {}
    except KeyringError as fault:
        raise BadPart(place, f"what is stored cannot be opened: {fault}") from None


def _read(path: Any, place: str, sources: Sources) -> bytes:
    try:
        return ((sources.folder or Path()) / Path(str(path))).read_bytes()
    except OSError as error:
        raise BadPart(place, f"{path}: {error.strerror}") from None


class DefinitionSection(Section):
    """Keys are `upstream/kind/name`. A definition may be named before its upstream was ever reached."""

    name = "definitions"
    model = Definition
    fields = ("enabled", "risk_override", "alias", "described_as", "arguments")

    def rows(self, org: Org) -> Iterable[Any]:
        rows = Definition.objects.for_org(org).filter(upstream__source="")
        return rows.select_related("upstream__org", "current")

    def key(self, row: Any) -> str:
        return f"{row.upstream.slug}/{row.kind}/{row.name}"

    def make(self, org: Org, key: str) -> Definition:
        slug, _, rest = key.partition("/")
        kind, _, name = rest.partition("/")
        upstream = Upstream.objects.for_org(org).filter(slug=slug, source="").first()
        if upstream is None or kind not in KindChoice.values or not name:
            raise BadPart("", "write UPSTREAM/KIND/NAME, of an upstream of this org that no servers file owns")
        return Definition(upstream=upstream, kind=kind, name=name)

    def is_kept(self, row: Any) -> bool:
        return True

    def is_said(self, row: Any) -> bool:
        return False

    def facts(self, row: Any) -> dict[str, Any]:
        return acts.facts_of(row)
