"""Why a call was decided as it was: for its own caller, and for whoever reads the audit there."""

import json

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from mcphub.accounts.models import User
from policies.recorded import story_of


@require_GET
@login_required
def why(request: HttpRequest, call_id: str) -> HttpResponse:
    """One call. Somebody else's call and one that never was have the same answer."""
    assert isinstance(request.user, User)
    story = story_of(request.user, call_id)
    if story is None:
        raise Http404
    return render(request, "dashboard/why.html", {"story": story, "arguments": _pretty(story.arguments)})


def _pretty(text: str) -> str:
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False) if text else ""
