"""Forms of roles, grants and rules."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django import forms
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from mcphub.accounts.admin_base import OneOrgForm
from mcphub.accounts.roles import RIGHTS, Right
from policies.building import OPERATORS, build, joined
from policies.models import Grant, Role, Rule, Toolset, tools_only
from policies.types import KINDS
from upstreams.models import Definition, KindChoice, RiskChoice

_BETWEEN: Final = re.compile(r"[,\n]")
RIGHT_LABELS: Final[Mapping[Right, str]] = {
    Right.VIEW_CONFIG: "See configuration",
    Right.READ_AUDIT: "Read the audit of everybody",
    Right.MANAGE_UPSTREAMS: "Manage upstreams",
    Right.MANAGE_POLICY: "Manage roles, grants and rules",
    Right.APPROVE: "Approve calls that a rule asks about",
    Right.MANAGE_MEMBERS: "Manage members and their roles",
    Right.MANAGE_KEYS: "Manage API keys",
    Right.MANAGE_ORG: "Manage the org itself",
}


class GlobsField(forms.CharField):
    """A list of globs, one a line or separated by commas."""

    def __init__(self, placeholder: str = "any", rows: int = 2, **kwargs: Any) -> None:
        attrs = {"rows": rows, "placeholder": placeholder, "spellcheck": "false", "autocomplete": "off"}
        super().__init__(**{"required": False, "widget": UnfoldAdminTextareaWidget(attrs=attrs), **kwargs})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> Any:
        parts = (part.strip() for part in _BETWEEN.split(super().clean(value) or ""))
        return list(dict.fromkeys(filter(None, parts)))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or []) != self.clean(data))


def _boxes(choices: Any, **kwargs: Any) -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(choices=choices, widget=UnfoldAdminCheckboxSelectMultipleWidget, **kwargs)


class RoleForm(OneOrgForm):
    """A role's rights and reach. Nobody gives or takes away a right that they do not hold themselves."""

    held: Mapping[str, frozenset[Right]] = {}
    rights = _boxes([(right.value, label) for right, label in RIGHT_LABELS.items()], required=False)

    class Meta:
        model = Role
        fields = ("org", "name", "rights", "auto_grant")
        labels = {"auto_grant": "Reaches, where no grant says otherwise"}
        help_texts = {
            "name": "2–32 lower-case letters, digits and inner hyphens; fixed once saved.",
            "auto_grant": "Holds on every upstream without a grant of this role, new ones included.",
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        org = self.instance.org if not self.instance._state.adding else cleaned.get("org")
        if "rights" in cleaned and org is not None:
            changed = set(cleaned["rights"]) ^ set(self.instance.rights)
            own = self.held.get(str(org.pk), frozenset())
            refused = [label for right, label in RIGHT_LABELS.items() if right in changed and right not in own]
            if refused:
                self.add_error("rights", f"You do not hold: {', '.join(refused)}.")
        return cleaned


def rights_of_role(role: Role) -> Iterable[str]:
    """The rights of a role in words."""
    rights = RIGHTS[role.name] if role.builtin else role.rights
    return [label for right, label in RIGHT_LABELS.items() if right in rights]


class SwitchesWidget(forms.Widget):
    """A table of an upstream's definitions, each with a box for "on" and one for "off"; only ticked ones are sent."""

    rows: Iterable[Definition] = ()

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        switches = value if isinstance(value, dict) else {}
        rows = [
            {"row": row, "key": f"{row.kind}:{row.name}", "switch": switches.get(row.kind, {}).get(row.name)}
            for row in self.rows
        ]
        return render_to_string("admin/policies/grant/switches.html", {"rows": rows, "name": name})

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        return {state: data.getlist(f"{name}-{state}") for state in ("on", "off")}

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False


class SwitchesField(forms.Field):
    """`{kind: {original name: on}}`; names that the upstream does not (any longer) offer keep their switch."""

    widget = SwitchesWidget

    def clean(self, value: Any) -> Any:
        both = set(value["on"]) & set(value["off"])
        if both:
            raise forms.ValidationError(f"Both on and off: {', '.join(sorted(both))}.")
        switches: dict[str, dict[str, bool]] = {}
        for state in ("on", "off"):
            for key in value[state]:
                kind, _, name = key.partition(":")
                if kind not in KINDS:
                    raise forms.ValidationError(f"Unknown: {key[:80]}.")
                switches.setdefault(kind, {})[name] = state == "on"
        return switches

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or {}) != self.clean(data))


class GrantForm(OneOrgForm):
    """A role's access to one upstream; single switches once the upstream is known."""

    tools = SwitchesField(required=False, label="Single switches")

    class Meta:
        model = Grant
        fields = ("org", "role", "upstream", "access", "tools")
        help_texts = {
            "access": "By risk class. Switches for single definitions, which beat it, come once the grant is saved."
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields.get("tools")
        if field is not None and not self.instance._state.adding:
            switched = [name for names in self.instance.tools.values() for name in names]
            rows = self.instance.upstream.definitions.select_related("upstream", "current")
            known = rows.filter(entries__isnull=False) | rows.filter(name__in=switched)
            field.widget.rows = known.distinct().order_by("kind", "name")


class RuleForm(OneOrgForm):
    """One line of policy. What a list leaves empty, it does not narrow."""

    kinds = _boxes(KindChoice.choices, initial=tools_only)
    risks = _boxes(RiskChoice.choices, required=False, help_text="None chosen: any.")
    upstreams = GlobsField("any upstream", help_text="Slugs.")
    tools = GlobsField(
        "any name",
        label="Names",
        rows=3,
        help_text="Original names of tools or prompts, or URIs of resources, as their upstream calls them.",
    )
    roles = GlobsField("any role", help_text="The principal has at least one of them.")
    applications = GlobsField("any application", help_text="As named by the API key or the consent.")
    argument = forms.CharField(required=False, max_length=120, widget=UnfoldAdminTextInputWidget)
    operator = forms.ChoiceField(
        required=False,
        choices=[(name, each.label) for name, each in OPERATORS.items()],
        widget=UnfoldAdminSelectWidget,
    )
    value = forms.CharField(
        required=False,
        max_length=1_000,
        widget=UnfoldAdminTextInputWidget,
        help_text="Text, or a number, true or false. Added to the condition above in its own words when the rule is "
        "saved.",
    )

    class Meta:
        model = Rule
        fields = ("org", "name", "effect", "priority", "enabled", "reason", *Rule.LISTS, "condition")
        help_texts = {
            "priority": "The lowest number comes first; of equal ones deny, then ask, then allow.",
            "reason": "What a denied caller is told.",
            "condition": (
                "CEL over principal, tool, arguments and client, for example "
                "arguments.path.startsWith('/srv/') && principal.attributes.team == 'ops'. "
                "What cannot be evaluated counts against the caller."
            ),
        }
        widgets = {
            "condition": UnfoldAdminTextareaWidget(
                attrs={"rows": 3, "spellcheck": "false", "autocomplete": "off", "class": "font-mono"}
            )
        }

    def clean(self) -> dict[str, Any]:
        """What was built on an argument joins the condition, and is checked with it."""
        cleaned = super().clean()
        if cleaned.get("argument") and cleaned.get("operator"):
            built = build(cleaned.get("effect", "deny"), cleaned["argument"], cleaned["operator"], cleaned["value"])
            cleaned["condition"] = joined(cleaned.get("condition", ""), built)
        return cleaned


class ToolsetForm(OneOrgForm):
    """A named subset of what upstreams offer."""

    tools = GlobsField(placeholder="github__*, time__get_time", rows=4, required=True)

    class Meta:
        model = Toolset
        fields = ("org", "name", "slug", "tools", "search", "enabled")
        labels = {"search": "Clients search", "slug": "Short name"}
        help_texts = {
            "slug": "The last part of its address.",
            "tools": "Names as clients are listed them, with * and ?. It never gives more than policy does.",
            "search": "Clients are listed find_tools and call_tool in place of everything it holds.",
        }
