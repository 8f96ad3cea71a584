"""Which ring keys API keys need: each moves to the newest with its next use."""

from collections import Counter
from collections.abc import Iterable

from mcphub.accounts.models import ApiKey
from mcphub.core.rotation import KeyUse


def keys_in_use() -> Iterable[KeyUse]:
    """The keys under which working API keys are hashed."""
    ids = Counter(ApiKey.objects.filter(revoked_at=None).values_list("digest_key_id", flat=True))
    for key_id, count in ids.items():
        yield KeyUse("API keys", key_id, count, "each was used once, or revoked")
