"""How the Django admin looks (django-unfold's settings). Nothing in it comes from another host."""

from typing import Any, Final

from django.templatetags.static import static

UNFOLD: Final[dict[str, Any]] = {
    "SITE_TITLE": "MCP Hub",
    "SITE_HEADER": "MCP Hub",
    "SITE_SYMBOL": "hub",
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
    "SIDEBAR": {"show_search": False, "show_all_applications": False},
}
