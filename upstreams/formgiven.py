"""What an upstream is given in its form: headers, environment, variables and files, most of it never shown again."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextInputWidget,
)

from mcphub.accounts.admin_base import OneOrgForm
from mcphub.core.keyring import KeyringError
from upstreams import pastedkeys, secretfiles, variables
from upstreams.formfields import SecretPairsField, ShownPairsField, with_stored
from upstreams.models import TransportChoice
from upstreams.serversfile import pair_fault

SECRETS: Final = ("headers", "env", "variables")


class GivenForm(OneOrgForm):
    """The part of the upstream's form through which secrets go in; none comes out.

    `unreadable`: what is stored cannot be opened. `kept_files` are the files as they will be, once it is cleaned.
    """

    secret_headers = SecretPairsField(
        ":", label="Headers", help_text="<code>Name: value</code>, one a line. Stored values stay hidden."
    )
    secret_env = SecretPairsField(
        "=", label="Environment", help_text="<code>NAME=value</code>, one a line. Stored values stay hidden."
    )
    plain_variables = ShownPairsField(
        "=",
        label="Variables",
        help_text="<code>NAME=value</code>, used as <code>${NAME}</code> in the address, command, arguments, "
        "headers and environment; <code>${NAME:-default}</code> has a default, <code>\\${NAME}</code> stays as it "
        "is. Built in: HOME, DATA_DIR.",
    )
    secret_variables = SecretPairsField(
        "=", label="Secret variables", help_text="The same. Stored values stay hidden, from everybody."
    )
    file_variable = forms.CharField(
        required=False,
        label="Add a file as",
        max_length=80,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "KEY_FILE", "autocomplete": "off"}),
        help_text="The command gets it as a file that only it can read; <code>${KEY_FILE}</code> is its path.",
    )
    file_upload = forms.FileField(
        required=False, label="File", help_text="Up to 128 KiB. What is in it is never shown again."
    )
    files_removed = forms.MultipleChoiceField(
        required=False, label="Remove files", widget=UnfoldAdminCheckboxSelectMultipleWidget
    )
    pasted = forms.ChoiceField(
        required=False,
        label="Keys that stand in the open",
        choices=(("move", "Move them into secret variables"), ("keep", "They are no secrets: leave them")),
        widget=forms.HiddenInput,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unreadable = False
        self.kept_files: dict[str, Any] = {}
        for name in SECRETS:
            self._show_names(name)
        self._show_open()

    def _show_names(self, name: str) -> None:
        field = self.fields.get(f"secret_{name}")
        if not isinstance(field, SecretPairsField) or self.instance._state.adding:
            return
        try:
            hidden = getattr(self.instance, name)
            shown = self.instance.shown_variables if name == "variables" else ()
            self.initial[f"secret_{name}"] = field.masked(key for key in hidden if key not in shown)
        except KeyringError as fault:
            self.unreadable = True
            field.help_text = f"What is stored cannot be opened ({fault}); saving replaces it."

    def _show_open(self) -> None:
        """Variables that may be shown, and the names of files."""
        shown, files = self.fields.get("plain_variables"), self.fields.get("files_removed")
        if self.instance._state.adding or self.unreadable:
            stored: Mapping[str, Any] = {}
        else:
            stored = self.instance.files or {}
            if isinstance(shown, ShownPairsField):
                self.initial["plain_variables"] = shown.shown(self._shown_variables())
        if isinstance(files, forms.MultipleChoiceField):
            files.choices = [(name, f"${{{name}}} — {entry['name']}") for name, entry in stored.items()]
            if not stored:
                files.widget = forms.MultipleHiddenInput()

    def _shown_variables(self) -> dict[str, str]:
        return {
            name: value for name, value in self.instance.variables.items() if name in self.instance.shown_variables
        }

    def _merge_secrets(self, cleaned: dict[str, Any]) -> None:
        for name in SECRETS:
            field = f"secret_{name}"
            if field not in cleaned:
                continue
            if kept := [
                key for key, value in cleaned[field].items() if value is None and self._goes_elsewhere(cleaned)
            ]:
                self.add_error(field, f"The address changed: enter the value of {', '.join(kept)} again.")
                continue
            try:
                pairs = with_stored(cleaned[field], self._stored(name))
            except forms.ValidationError as error:
                self.add_error(field, error)
                continue
            for key, value in pairs.items():
                if fault := pair_fault(name, key, value):
                    self.add_error(field, f"{fault[:1].upper()}{fault[1:]}.")
            cleaned[field] = pairs

    def _goes_elsewhere(self, cleaned: Mapping[str, Any]) -> bool:
        """Whether stored secrets would go to another place than the one that they were given for.

        Who may not read them could send them to a place of their own.
        """
        before, now = self.instance.url if not self.instance._state.adding else "", cleaned.get("url", "")
        return bool(before and now) and origin_of(before) != origin_of(now)

    def _stored(self, name: str) -> Mapping[str, str]:
        try:
            stored: Mapping[str, str] = getattr(self.instance, name)
        except KeyringError:
            return {}
        return stored

    def _take_file(self, cleaned: dict[str, Any]) -> None:
        """The files as they will be: those that stay, and the one that was uploaded."""
        removed = cleaned.get("files_removed", ())
        files = {} if self.unreadable else {n: entry for n, entry in self._stored_files().items() if n not in removed}
        name, upload = cleaned.get("file_variable", ""), cleaned.get("file_upload")
        if upload is not None:
            if not variables.NAME.match(name):
                self.add_error("file_variable", "Give the file a variable: letters, digits and underscores.")
            elif upload.size > secretfiles.MAX_BYTES:
                self.add_error("file_upload", secretfiles.too_large())
            elif fault := secretfiles.fault_of(content := upload.read()):
                self.add_error("file_upload", fault)
            else:
                made = secretfiles.SecretFile(secretfiles.safe_name(upload.name), content)
                files = {**files, name: secretfiles.packed(made)}
        elif name:
            self.add_error("file_upload", f"Choose the file for ${{{name}}}.")
        if len(files) > secretfiles.MOST:
            self.add_error("file_upload", f"An upstream has {secretfiles.MOST} files at most.")
        if cleaned.get("transport") != TransportChoice.STDIO:
            files = {}
        if twice := files.keys() & {*cleaned.get("secret_variables", ()), *cleaned.get("plain_variables", ())}:
            self.add_error("file_variable", f"{', '.join(sorted(twice))} is a variable already.")
        self.kept_files = files

    def _stored_files(self) -> dict[str, Any]:
        return dict(self.instance.files or {})

    def _check_pasted(self, cleaned: dict[str, Any]) -> None:
        """Keys in what is stored as it is written: named, and moved when the person says so."""
        if "secret_variables" not in cleaned or "plain_variables" not in cleaned:
            return
        if twice := cleaned["secret_variables"].keys() & cleaned["plain_variables"]:
            self.add_error("plain_variables", f"{', '.join(sorted(twice))} is a secret variable already.")
            return
        plain = pastedkeys.facts(cleaned)
        places = plain.pasted()
        if not places or cleaned.get("pasted") == "keep":
            return
        if cleaned.get("pasted") == "move":
            plain.move()
            moved = {"url": plain.url, "command": plain.command, "args": plain.args, "secret_env": plain.env}
            cleaned.update(moved, plain_variables=plain.shown, secret_variables=plain.secret)
            return
        choice = self.fields["pasted"]
        assert isinstance(choice, forms.ChoiceField)
        choice.widget = UnfoldAdminRadioSelectWidget(choices=choice.choices)
        self.add_error("pasted", pastedkeys.offer(places))

    @staticmethod
    def _all_variables(cleaned: Mapping[str, Any]) -> dict[str, str]:
        return {**cleaned["secret_variables"], **cleaned.get("plain_variables", {})}

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's own hook, absent from the stubs
        for name in SECRETS:
            if f"secret_{name}" in self.cleaned_data:
                setattr(self.instance, name, self.cleaned_data[f"secret_{name}"])
        if "plain_variables" in self.cleaned_data and "secret_variables" in self.cleaned_data:
            shown = self.cleaned_data["plain_variables"]
            self.instance.variables = {**self.cleaned_data["secret_variables"], **shown}
            self.instance.shown_variables = sorted(shown)
        if "file_upload" in self.fields and self.kept_files != self._stored_or_none():
            self.instance.files = self.kept_files or None

    def _stored_or_none(self) -> dict[str, Any] | None:
        return None if self.unreadable else self._stored_files()


def origin_of(url: str) -> tuple[str, str]:
    """Scheme, host and port as they are written, variables and all."""
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()
