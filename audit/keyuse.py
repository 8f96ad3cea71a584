"""Which ring keys the record needs: to verify what was written under them, and for nothing else."""

from collections import Counter
from collections.abc import Iterable

from audit.models import AuditTombstone, AuditWriter
from mcphub.core.rotation import KeyUse


def keys_in_use() -> Iterable[KeyUse]:
    """The keys of all chains and of the signed remains of pruned ones."""
    ids = Counter(AuditWriter.objects.values_list("key_id", flat=True))
    ids += Counter(AuditTombstone.objects.values_list("key_id", flat=True))
    for key_id, count in ids.items():
        yield KeyUse("chains of the audit record", key_id, count, "verify_audit need not check them", opens=False)
