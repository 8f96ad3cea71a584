"""The pages of rate limits."""

from django.contrib import admin

from mcphub.accounts.admin_base import OneOrgForm
from policies.forms import GlobsField
from policies.models import RateLimit
from policies.pages.base import PolicyAdmin


class RateLimitForm(OneOrgForm):
    """How many calls, counted for whom, and which."""

    roles = GlobsField("any role")
    upstreams = GlobsField("any upstream", help_text="Slugs.")
    tools = GlobsField("any tool", help_text="Original names; of resources their URIs.")

    class Meta:
        model = RateLimit
        fields = ("org", "name", "calls", "seconds", "per", "roles", "upstreams", "tools", "enabled")
        help_texts = {
            "calls": "In any such stretch of time, however it is cut.",
            "per": "Each of these is counted by itself; all of a person's keys count together.",
        }


@admin.register(RateLimit)
class RateLimitAdmin(PolicyAdmin):
    form = RateLimitForm
    list_display = ("name", "org", "allows", "per", "speaks_of", "enabled")
    list_filter = ("org", "enabled")
    list_select_related = ("org",)
    search_fields = ("name",)
    fields = ("org", "name", "calls", "seconds", "per", "roles", "upstreams", "tools", "enabled")

    @admin.display(description="Allows")
    def allows(self, row: RateLimit) -> str:
        return f"{row.calls:,} in {row.seconds:,} s"

    @admin.display(description="Of")
    def speaks_of(self, row: RateLimit) -> str:
        said = (("roles", row.roles), ("upstreams", row.upstreams), ("tools", row.tools))
        return "; ".join(f"{name}: {', '.join(globs)}" for name, globs in said if globs) or "every call"
