"""The form of an upstream: everything that can be known wrong is said before saving."""

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.conf import settings

from mcphub.accounts import quotas, services
from mcphub.accounts.models import Org, User
from mcphub.core.netguard import parse_allowed
from upstreams import clientheaders, naming
from upstreams.accountform import account_faults
from upstreams.addresses import blocked_at, is_never_opened
from upstreams.formfields import LinesField
from upstreams.formgiven import GivenForm
from upstreams.models import TransportChoice, Upstream
from upstreams.oauthform import OAuthForm
from upstreams.programs import program
from upstreams.selectors import stdio_allowed
from upstreams.serversfile import host_and_port, url_fault
from upstreams.variables import BUILT_IN, IN_ARGV, fill, mentioned_names, required_names, secrets_in


class UpstreamForm(OAuthForm, GivenForm):
    """An upstream as its operator writes it. Secret values go in and never come out."""

    acting: ClassVar[User | None] = None

    args = LinesField(label="Arguments", help_text="One a line. A line in double quotes is read as a JSON string.")
    forward_headers = LinesField(
        rows=2,
        label="Headers of the client that go on",
        help_text="Names, one a line. Never credentials, cookies, or what proxies and connections add.",
    )
    idempotent = LinesField(
        rows=3,
        label="Idempotent tools",
        help_text="Original names, one a line. Their calls may be sent twice when an answer is lost.",
    )
    egress_allow = LinesField(
        rows=2,
        label="Allowed private hosts",
        help_text="<code>host:port</code>, one a line: addresses that are not public and that this upstream may use.",
    )
    allow_address = forms.BooleanField(
        required=False,
        label="Allow this private address",
        help_text="Puts the host and port of the address above on this upstream's list. This is recorded.",
    )

    class Meta:
        model = Upstream
        fields = (
            "org",
            "slug",
            "name",
            "enabled",
            "transport",
            "url",
            "command",
            "args",
            "credential_mode",
            "credential_kind",
            "key_header",
            "key_format",
            "key_help",
            "forward_headers",
            "claims",
            "sharing",
            "trusted",
            "may_elicit",
            "may_sample",
            "may_list_roots",
            "idempotent",
            "payload_mode",
            "connect_s",
            "call_s",
            "call_hard_s",
            "heartbeat_s",
            "discovery_s",
            "egress_allow",
        )
        labels: ClassVar[dict[str, str]] = {
            "url": "URL",
            "args": "Arguments",
            "sharing": "Connections",
            "credential_mode": "Whose account",
            "credential_kind": "Connected by",
            "key_header": "The key goes into",
            "key_format": "written as",
            "key_help": "Where people find their key",
            "may_elicit": "May ask people for input",
            "may_sample": "May ask clients for a model's answer",
            "may_list_roots": "May ask clients for their folders",
            "claims": "Tell it who is calling",
            "payload_mode": "Arguments in the audit",
            "idempotent": "Idempotent tools",
            "egress_allow": "Allowed private hosts",
            "connect_s": "To connect",
            "call_s": "Silence in a call",
            "call_hard_s": "A whole call",
            "heartbeat_s": "Between heartbeats",
            "discovery_s": "Between listings",
        }
        help_texts: ClassVar[dict[str, str]] = {
            "slug": "Stands before its tools: <code>slug__tool</code>.",
            "credential_mode": "Whoever needs an account connects it under “My connections”. While it is missing, "
            "calls say so; nothing else ever stands in for it.",
            "key_header": "A header; for a command, a variable of its environment.",
            "key_format": "<code>{key}</code> stands for the key.",
            "sharing": "On a connection for everybody a server of the handshake era can ask nobody anything.",
            "claims": "A short-lived token that it can check with <code>/.well-known/mcphub/keys.json</code>.",
            "trusted": "Believe its annotations, also where they make a tool look less dangerous.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in {"credential_mode", "credential_kind"} & self.fields.keys():  # none on a page to look at only
            self.fields[name].required = False

    def clean_forward_headers(self) -> list[str]:
        return list(dict.fromkeys(name.lower() for name in self.cleaned_data["forward_headers"]))

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if fault := naming.slug_fault(slug):
            raise forms.ValidationError(fault)
        return slug

    def clean_credential_mode(self) -> str:
        return str(self.cleaned_data["credential_mode"] or self.instance.credential_mode)

    def clean_credential_kind(self) -> str:
        return str(self.cleaned_data["credential_kind"] or self.instance.credential_kind)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        self._check_slug_is_free(cleaned)
        self._check_transport(cleaned)
        self._merge_secrets(cleaned)
        self._check_account(cleaned)
        self._take_file(cleaned)
        self._check_pasted(cleaned)
        self._check_times(cleaned)
        self._check_allowed(cleaned)
        self._check_along(cleaned)
        if "secret_variables" in cleaned and self._variables_are_defined(cleaned):
            self._check_place(cleaned)
        return cleaned

    def _check_quota(self, org: Org) -> None:
        """The page's transaction holds the org's row from here on: two who add the last one do not both."""
        services.lock(org)
        if fault := quotas.fault(org, "upstreams", Upstream.objects.for_org(org).count()):
            self.add_error(None, fault)

    def _check_along(self, cleaned: Mapping[str, Any]) -> None:
        for fault in clientheaders.faults_of(cleaned.get("forward_headers", ())):
            self.add_error("forward_headers", fault)
        if cleaned.get("transport") != TransportChoice.STDIO:
            return
        if cleaned.get("forward_headers"):
            self.add_error("forward_headers", "A command is given no headers.")
        if cleaned.get("claims") == "header":
            self.add_error("claims", "A command is given no headers; choose the member of _meta.")

    def _check_slug_is_free(self, cleaned: Mapping[str, Any]) -> None:
        org = cleaned.get("org") or (None if self.instance._state.adding else self.instance.org)
        slug = cleaned.get("slug")
        if org is not None and self.instance._state.adding:
            self._check_quota(org)
        if org is None or not slug:
            return
        others = Upstream.objects.for_org(org).exclude(pk=self.instance.pk)
        taken = {name for pair in others.values_list("slug", "path_alias") for name in pair}
        if slug in taken:
            self.add_error("slug", f"“{slug}” is taken in this org; “{naming.free_slug(slug, taken)}” is free.")

    def _check_transport(self, cleaned: dict[str, Any]) -> None:
        """What the other transports need is dropped: the page does not show it."""
        stdio = cleaned.get("transport") == TransportChoice.STDIO
        needed = "command" if stdio else "url"
        if not cleaned.get(needed) and needed not in self.errors:
            self.add_error(needed, "Needed for this transport.")
        cleaned |= {"url": ""} if stdio else {"command": "", "args": []}
        if stdio and not stdio_allowed():
            self.add_error("transport", "Commands are switched off on this installation (MCPHUB_ALLOW_STDIO).")

    def _check_account(self, cleaned: Mapping[str, Any]) -> None:
        for field, fault in account_faults(cleaned):
            self.add_error(field, fault)

    def _check_times(self, cleaned: Mapping[str, Any]) -> None:
        for name in ("connect_s", "call_s", "call_hard_s"):
            value = cleaned.get(name)
            if value is not None and not value > 0:
                self.add_error(name, "Must be more than 0 seconds.")
        for name in ("heartbeat_s", "discovery_s"):
            value = cleaned.get(name)
            if value is not None and value < 0:
                self.add_error(name, "Must not be negative; 0 switches it off.")

    def _variables_are_defined(self, cleaned: Mapping[str, Any]) -> bool:
        known = {*cleaned["secret_variables"], *cleaned.get("plain_variables", ()), *self.kept_files, *BUILT_IN}
        texts = {
            "url": [cleaned.get("url", "")],
            "command": [cleaned.get("command", "")],
            "args": cleaned.get("args", []),
            "secret_headers": cleaned.get("secret_headers", {}).values(),
            "secret_env": cleaned.get("secret_env", {}).values(),
        }
        for field in ("url", "secret_headers"):
            for name in mentioned_names(texts[field]):
                if name in self.kept_files:
                    self.add_error(field, f"${{{name}}} is the path of a file, which only a command can read.")
        unknown = [(field, name) for field in texts for name in required_names(texts[field]) if name not in known]
        for field, name in unknown:
            self.add_error(field, f"The variable ${{{name}}} is not defined.")
        for field in ("command", "args"):
            for name in secrets_in(texts[field], self._all_variables(cleaned), self.kept_files):
                self.add_error(field, f"${{{name}}} is a secret: {IN_ARGV}.")
        return not unknown

    def _check_place(self, cleaned: dict[str, Any]) -> None:
        files = dict.fromkeys(self.kept_files, "file")
        values = {"HOME": os.path.expanduser("~"), "DATA_DIR": "", **self._all_variables(cleaned), **files}
        command, url = fill(cleaned.get("command", ""), values), fill(cleaned.get("url", ""), values)
        if command and settings.HUB.runner != "e2b" and program(command) is None:
            self.add_error("command", f"“{command}” is not installed here.")
        if url and (fault := url_fault(url)):
            self.add_error("url", fault)
        elif url:
            self._check_address(cleaned, url)

    def _check_address(self, cleaned: dict[str, Any], url: str) -> None:
        place = host_and_port(url)
        allowed: list[str] = cleaned.get("egress_allow", self.instance.egress_allow)
        if cleaned.get("allow_address") and self.may_allow and place not in allowed:
            allowed = cleaned["egress_allow"] = [*allowed, place]
        if blocked := blocked_at(url, allowed):
            remedy = "It is never opened." if is_never_opened(blocked.address) else self._remedy(place)
            self.add_error("url", f"{blocked.host} is at {blocked.address}, which is not a public address. {remedy}")

    def _remedy(self, place: str) -> str:
        if self.may_allow:
            return f"Tick “Allow this private address” to allow {place} for this upstream."
        if settings.HUB.mode == "cloud":
            return f"The installation would have to allow {place} (MCPHUB_EGRESS_ALLOW)."
        return f"A hub admin can allow {place}; create_user EMAIL --hub-admin --if-absent makes one."

    def _check_allowed(self, cleaned: Mapping[str, Any]) -> None:
        for entry in cleaned.get("egress_allow") or ():
            try:
                parse_allowed(entry)
            except ValueError:
                self.add_error("egress_allow", f"“{entry}” is not a host, address or network.")

    @property
    def may_allow(self) -> bool:
        """Whether the person at this form may open a private address."""
        return self.allowing(self.acting)

    @staticmethod
    def allowing(person: Any) -> bool:
        """Whether this person may open private addresses: a hub admin, and not in cloud."""
        return bool(person and person.is_superuser) and settings.HUB.mode == "standalone"
