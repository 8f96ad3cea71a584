"""Replays that people ask for and workers work on. Safe to start twice: a row is taken by one worker at a time."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import structlog
from django.db.models import Q

from mcphub.accounts import acts
from mcphub.accounts.acts import Actor
from mcphub.accounts.models import Org
from mcphub.core.clock import now
from policies.drafts import BadDraft, draft_of
from policies.models import Replay
from policies.replaying import replay, summary

SILENT: Final = timedelta(minutes=2)
"""After so long without a sign of life another worker takes a replay anew."""

KEPT: Final = 50
MAX_DAYS: Final = 3_660

log = structlog.get_logger(__name__)


def ask(org: Org, title: str, document: Mapping[str, Any], days: int, *, by: Actor) -> Replay:
    """Have a draft replayed; the row tells how far it is. Raises `BadDraft`. Only the newest of an org are kept."""
    draft_of(org, document)
    if not 1 <= days <= MAX_DAYS:
        raise BadDraft(f"Between 1 and {MAX_DAYS} days.")
    row = Replay.objects.create(org=org, title=title[:120], draft=document, days=days, asked_by=by.label)
    acts.record(by, org, "policy.replay", title[:120], after={"days": days, **document})
    older = Replay.objects.for_org(org).order_by("-asked_at").values_list("pk", flat=True)[KEPT:]
    Replay.objects.filter(pk__in=list(older)).delete()
    return row


def work() -> int:
    """Do what is due; how many replays. Blocking."""
    done = 0
    while (row := _take()) is not None:
        _do(row)
        done += 1
    return done


def _take() -> Replay | None:
    lost = Q(state=Replay.State.RUNNING, worked_at__lt=now() - SILENT)
    for row in Replay.objects.filter(Q(state=Replay.State.DUE) | lost).order_by("asked_at"):
        same = Replay.objects.filter(pk=row.pk, state=row.state, worked_at=row.worked_at)
        if same.update(state=Replay.State.RUNNING, worked_at=now(), calls=0):
            return row
    return None


def _do(row: Replay) -> None:
    rows = Replay.objects.filter(pk=row.pk)

    def progress(calls: int) -> None:
        rows.update(calls=calls, worked_at=now())

    try:
        found = summary(replay(row.org_id, draft_of(row.org, row.draft), row.days, progress=progress))
    except BadDraft as fault:
        rows.update(state=Replay.State.FAILED, fault=str(fault)[:200])
    except Exception:
        # The worker lives on, and whoever asked is told instead of waiting.
        log.exception("replay_failed", replay=str(row.pk))
        rows.update(state=Replay.State.FAILED, fault="The worker could not finish it; its log says why.")
    else:
        rows.update(state=Replay.State.DONE, result=found, calls=found["calls"])
