"""The schedule of periodic tasks. Each looks for work that is due, so that one run too many does no harm."""

from typing import Any, Final

HOUR_S: Final = 3600
MINUTE_S: Final = 60
SOON_S: Final = 3
"""Somebody waits for it in front of a page."""

SCHEDULE: Final[dict[str, dict[str, Any]]] = {
    "forget codes, tokens and clients that are over": {"task": "gateway.authserver.tidy", "schedule": 5 * MINUTE_S},
    "close calls of writers that fell silent": {"task": "audit.reconcile", "schedule": MINUTE_S},
    "forget browser sessions that are over": {"task": "accounts.forget_sessions", "schedule": HOUR_S},
    "mail links to those who forgot their password": {
        "task": "accounts.send_password_links",
        "schedule": SOON_S,
        "options": {"expires": SOON_S},
    },
    "refresh upstream credentials": {"task": "upstreams.refresh_credentials", "schedule": 10 * MINUTE_S},
    "tell people to connect again": {"task": "upstreams.send_notices", "schedule": MINUTE_S},
    "count the tokens of new definitions": {"task": "upstreams.count_tokens", "schedule": MINUTE_S},
    "prune the record": {"task": "audit.prune", "schedule": HOUR_S},
    "tell people of calls that wait for them": {
        "task": "policies.approvals",
        "schedule": SOON_S,
        "options": {"expires": SOON_S},
    },
    "replay drafts of policy": {"task": "policies.replays", "schedule": SOON_S, "options": {"expires": SOON_S}},
}
