"""The pages of toolsets: what each holds, where clients find it, and what its list costs them."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString

from mcphub.accounts.links import home
from policies.forms import ToolsetForm
from policies.models import Toolset
from policies.pages.base import PolicyAdmin
from policies.selectors import held_tools

SHOWN = 100


@admin.register(Toolset)
class ToolsetAdmin(PolicyAdmin):
    form = ToolsetForm
    list_display = ("slug", "name", "org", "globs", "cost", "search", "enabled")
    list_filter = ("org", "enabled")
    list_select_related = ("org",)
    search_fields = ("slug", "name")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        known = ("address", "cost", "holds") if obj else ()
        return ("org", "name", "slug", "tools", "search", "enabled", *known)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), *(("address", "cost", "holds") if obj else ()))

    @admin.display(description="Tools")
    def globs(self, row: Toolset) -> str:
        return ", ".join(row.tools)

    @admin.display(description="Address")
    def address(self, row: Toolset) -> Any:
        return format_html("<code>{}/mcp/{}/t/{}</code>", home(), row.org.slug, row.slug)

    @admin.display(description="Tokens")
    def cost(self, row: Toolset) -> str:
        tools = held_tools(row)
        return f"{sum(each.tokens or 0 for each in tools):,} in {len(tools)} definitions"

    @admin.display(description="Holds now")
    def holds(self, row: Toolset) -> SafeString:
        tools = held_tools(row)
        context = {"tools": tools[:SHOWN], "more": max(0, len(tools) - SHOWN)}
        return render_to_string("admin/policies/toolset/holds.html", context)
