"""Fill a hub's database: `python -m bench.fill rules|audit COUNT`, run with the hub's environment."""

import os
import sys

import django
from django.db import connection


def rules(count: int) -> None:
    """Rules that come before every grant and match nothing that the benchmark calls."""
    from mcphub.accounts.models import Org
    from policies.models import Rule

    org = Org.objects.get()
    Rule.objects.bulk_create(
        Rule(org=org, name=f"bench {number}", priority=number, effect="deny", upstreams=[f"other-{number}"])
        for number in range(count)
    )


def audit(count: int) -> None:
    """Copies of the newest audit row, made by the database itself. Their chain does not verify."""
    from audit.models import AuditEvent

    columns = ", ".join(
        connection.ops.quote_name(field.column) for field in AuditEvent._meta.concrete_fields if not field.primary_key
    )
    table = connection.ops.quote_name(AuditEvent._meta.db_table)
    key = connection.ops.quote_name(AuditEvent._meta.pk.column)
    numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s) "
    newest = f"(SELECT * FROM {table} ORDER BY {key} DESC LIMIT 1)"
    copy = f"INSERT INTO {table} ({columns}) {numbers} SELECT {columns} FROM {newest} AS newest, numbers"
    with connection.cursor() as cursor:
        cursor.execute(copy, [count])


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcphub.settings")
    django.setup()
    {"rules": rules, "audit": audit}[sys.argv[1]](int(sys.argv[2]))
