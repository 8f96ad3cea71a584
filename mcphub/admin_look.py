"""How the Django admin looks (django-unfold's settings). Nothing in it comes from another host."""

from typing import Any, Final

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import get_script_prefix

NAVIGATION: Final = (
    (
        "What we call",
        {
            "upstreams.Upstream": "dns",
            "upstreams.Definition": "build",
            "upstreams.DefinitionVersion": "difference",
            "upstreams.Credential": "link",
            "upstreams.OAuthRegistration": "passkey",
        },
    ),
    (
        "Who may call it",
        {
            "policies.Rule": "rule",
            "policies.Grant": "key_vertical",
            "policies.Role": "badge",
            "policies.Replay": "manage_history",
            "policies.Toolset": "category",
            "policies.RateLimit": "speed",
            "policies.ApprovalSettings": "how_to_reg",
        },
    ),
    ("What happened", {"audit.AuditEvent": "history"}),
    (
        "People and keys",
        {
            "accounts.Membership": "group",
            "accounts.Invitation": "mail",
            "accounts.ApiKey": "vpn_key",
            "policies.AttributeMapping": "badge",
            "accounts.Issuer": "verified_user",
            "gateway.Approval": "link",
            "oauth2_provider.Application": "apps",
            "accounts.Org": "domain",
            "accounts.User": "person",
            "accounts.OrgQuota": "speed",
            "accounts.Installation": "settings",
        },
    ),
)
"""Groups of the sidebar: model → symbol. A model that is missing here stands under "More"."""


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar: pages that the signed-in person may open, grouped by the question they answer."""
    from django.contrib import admin

    apps = admin.site.get_app_list(request)
    pages = {page["model"]._meta.label: page for app in apps for page in app["models"]}
    groups = [
        (title, [_entry(pages.pop(label), symbol) for label, symbol in models.items() if label in pages])
        for title, models in NAVIGATION
    ]
    groups.append(("More", [_entry(page, "table") for page in pages.values()]))
    shown = [(title, items) for title, items in groups if items]
    return [{"title": title, "separator": at > 0, "items": items} for at, (title, items) in enumerate(shown)]


def _entry(page: dict[str, Any], symbol: str) -> dict[str, Any]:
    return {"title": page["name"], "icon": symbol, "link": page["admin_url"]}


UNFOLD: Final[dict[str, Any]] = {
    "SITE_TITLE": "MCP Hub",
    "SITE_HEADER": "MCP Hub",
    "SITE_SYMBOL": "hub",
    "SITE_URL": lambda request: get_script_prefix(),
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("mcphub.svg")}],
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "COLORS": {
        "primary": {
            "50": "oklch(97.5% .013 178)",
            "100": "oklch(94.2% .032 178)",
            "200": "oklch(88.6% .056 178)",
            "300": "oklch(80.5% .080 178)",
            "400": "oklch(70.2% .096 178)",
            "500": "oklch(58.6% .092 178)",
            "600": "oklch(48.2% .078 178)",
            "700": "oklch(41.6% .066 178)",
            "800": "oklch(35.6% .054 178)",
            "900": "oklch(30.4% .044 178)",
            "950": "oklch(21.8% .034 178)",
        }
    },
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": navigation},
}
