"""The form of a definition: its switches, and what an operator changes of its name, description and arguments."""

import json
from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextareaWidget

from mcphub.accounts.admin_base import OneOrgForm
from upstreams.models import Definition, KindChoice
from upstreams.shaping import MODES, declared_arguments, required_arguments

CHOICES: Final[Mapping[str, str]] = {
    "": "as the client says",
    "default": "unless the client says otherwise",
    "fixed": "always, and hidden",
    "hidden": "never sent, and hidden",
}


class ArgumentsWidget(forms.Widget):
    """A line for each argument of the tool: who chooses it, and the value."""

    body: str = ""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        changes: Mapping[str, Any] = value if isinstance(value, dict) else {}
        declared, required = declared_arguments(self.body), required_arguments(self.body)
        lines = [
            _line(each, declared.get(each), changes.get(each, {}), each in required)
            for each in dict.fromkeys([*declared, *changes])
        ]
        return render_to_string(
            "admin/upstreams/definition/arguments.html", {"lines": lines, "name": name, "choices": CHOICES}
        )

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        names = data.getlist(f"{name}-name")
        return [
            (each, data.get(f"{name}-mode-{at}", ""), data.get(f"{name}-value-{at}", ""))
            for at, each in enumerate(names)
        ]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False


def _line(name: str, schema: Any, change: Mapping[str, Any], required: bool) -> dict[str, Any]:
    known = schema if isinstance(schema, dict) else {}
    kind = known.get("type")
    return {
        "name": name,
        "kind": kind if isinstance(kind, str) else "",
        "gone": schema is None,
        "required": required,
        "about": known.get("description") if isinstance(known.get("description"), str) else "",
        "mode": change.get("mode", ""),
        "text": _text(change["value"], known) if "value" in change else "",
    }


def _is_text(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "string"


def _text(value: Any, schema: Any) -> str:
    return value if _is_text(schema) and isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class ArgumentsField(forms.Field):
    """`Definition.arguments`. Values of arguments that are text are taken as they stand, all others as JSON."""

    widget = ArgumentsWidget

    def clean(self, value: Any) -> Any:
        declared = declared_arguments(self.widget.body)
        return {name: _change(name, mode, text, declared.get(name)) for name, mode, text in value if mode}

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or {}) != self.clean(data))


def _change(name: str, mode: str, text: str, schema: Any) -> dict[str, Any]:
    if mode not in MODES:
        raise forms.ValidationError(f"{name}: choose one of the modes.")
    if mode == "hidden":
        return {"mode": mode}
    if _is_text(schema):
        return {"mode": mode, "value": text}
    try:
        return {"mode": mode, "value": json.loads(text)}
    except ValueError:
        raise forms.ValidationError(f"{name}: {text[:40]!r} is no JSON value.") from None


class DefinitionForm(OneOrgForm):
    """An operator's word on one definition."""

    arguments = ArgumentsField(
        required=False,
        label="Arguments",
        help_text=(
            "Set before policy looks at a call, and on record with it. A client that sends a hidden argument all "
            "the same is refused. Not for secrets: every operator can read these values."
        ),
    )

    class Meta:
        model = Definition
        fields = ("enabled", "risk_override", "alias", "described_as", "arguments")
        labels = {"alias": "Another name", "described_as": "Another description"}
        help_texts = {
            "alias": "What clients call it, after the upstream's name and two underscores. Rules and the record "
            "keep to the upstream's own name, and calls under that go on to work.",
            "described_as": "What clients read in place of the upstream's own words.",
        }
        widgets = {"described_as": UnfoldAdminTextareaWidget(attrs={"rows": 4})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        row = self.instance
        if "arguments" in self.fields:
            if row.kind == KindChoice.TOOL and row.current is not None:
                self.fields["arguments"].widget.body = row.current.body
            else:
                del self.fields["arguments"]
