"""A draft of policy against a million calls on record: `python -m bench.replay [COUNT]` prints a table.

The record lies in a database of its own in a temporary folder; it holds what 200 people call of 400 tools.
"""

import os
import sys
import tempfile
import time
from typing import Any, Final

import msgspec

from bench import report

ROWS: Final = 1_000_000
PEOPLE: Final = 200
TOOLS: Final = 400
BATCH: Final = 5_000
ARGUMENTS: Final = 2_000
DRAFTS: Final[dict[str, dict[str, Any]]] = {
    "names and risks": {"name": "draft", "effect": "deny", "priority": 1, "tools": ["tool_1*"], "risks": ["write"]},
    "a condition on arguments": {
        "name": "draft",
        "effect": "deny",
        "priority": 1,
        "condition": "has(arguments.path) && arguments.path.startsWith('/srv/1')",
    },
}


def measure(count: int = ROWS) -> list[list[str]]:
    """Draft, calls, changed, seconds; the database must be migrated and empty."""
    from policies.drafts import draft_of
    from policies.replaying import replay, summary

    org = _fill(count)
    found = []
    for name, rule in DRAFTS.items():
        started = time.perf_counter()
        result = summary(replay(org.pk, draft_of(org, {"put": [rule]}), 30))
        took = time.perf_counter() - started
        assert result["calls"] == count
        found.append([name, f"{count:,}", f"{result['changed']:,}", f"{took:.1f}"])
    return found


def _fill(count: int) -> Any:
    """An org with people, and calls by them, written as the audit writer writes them but in one chain of no worth."""
    from django.db import transaction

    from audit.events import Event, Kind
    from audit.models import AuditEvent, AuditPayload
    from audit.rows import COLUMNS, draft
    from mcphub.accounts import services
    from mcphub.accounts.selectors import person_principal
    from mcphub.core.clock import epoch_us

    org = services.create_org("bench", "Bench")
    people = []
    for number in range(PEOPLE):
        user = services.create_user(f"person-{number}@example.org")
        services.add_member(org, user, ["operator"])
        people.append(person_principal(user.pk, org.pk))
    at = epoch_us()
    for start in range(0, count, BATCH):
        rows, payloads = [], []
        for number in range(start, min(start + BATCH, count)):
            who = people[number % PEOPLE]
            assert who is not None
            event = Event(
                kind=Kind.INTENT,
                at=at - number,
                org_id=str(org.pk),
                org="bench",
                call_id=f"call-{number}",
                principal_id=who.id,
                principal=who.label,
                method="tools/call",
                upstream=f"upstream-{number % 20}",
                name=f"tool_{number % TOOLS}",
                risk="write" if number % 3 else "read",
                effect="allow",
                payload=msgspec.json.encode({"path": f"/srv/{number % ARGUMENTS}", "limit": 5}),
            )
            kept = draft(event, b"k" * 32, 16_384)
            rows.append(AuditEvent(**dict(zip(COLUMNS, (number + 1, *kept.columns, b""), strict=True))))
            payloads.append(AuditPayload(id=number + 1, salt=kept.salt, body=kept.body))
        with transaction.atomic():
            AuditEvent.objects.bulk_create(rows)
            AuditPayload.objects.bulk_create(payloads)
    return org


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"MCPHUB_DATA_DIR": folder, "DJANGO_SETTINGS_MODULE": "mcphub.settings"}
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        print(report.table(["draft", "calls on record", "would change", "seconds"], measure(count)))


if __name__ == "__main__":
    main()
