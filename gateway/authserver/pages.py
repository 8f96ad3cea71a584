"""Connected applications: what a person let in, and how they end it."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from gateway.authserver import approvals, documents, places
from mcphub.accounts import acts
from mcphub.accounts.models import User
from mcphub.core.peer import source_of


@never_cache
@require_safe
@login_required
def applications(request: HttpRequest) -> HttpResponse:
    """One's own connected applications."""
    mine = approvals.living().filter(user=request.user.pk, redeemed_at__isnull=False)
    return render(request, "authserver/applications.html", {"lines": [_line(request, each) for each in mine]})


@require_POST
@login_required
def end_application(request: HttpRequest, approval_id: UUID) -> HttpResponse:
    """End one of one's own; any other id is unknown."""
    user = request.user
    mine = approvals.living().filter(user=user.pk, pk=approval_id).first()
    if mine is None or not isinstance(user, User):
        raise Http404
    approvals.end([mine], approvals.BY_PERSON, acts.person(user, source_of(request)))
    messages.success(request, f"{mine.application} is no longer connected.")
    return HttpResponseRedirect(reverse("applications"))


def _line(request: HttpRequest, approval: Any) -> dict[str, Any]:
    application = approval.application
    return {
        "approval": approval,
        "name": application.name or application.client_id,
        "document": application.client_id if documents.is_document_id(application.client_id) else "",
        "endpoint": places.resource_url(request, approval.path),
    }
