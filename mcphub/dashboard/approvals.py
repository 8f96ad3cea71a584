"""Held calls: the inbox of those who approve, and the page of one call, which its caller may look at too."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from mcphub.accounts.admin_base import actor_of
from mcphub.accounts.models import User
from mcphub.accounts.place import Place, in_org
from mcphub.accounts.roles import Right
from mcphub.dashboard.forms import AnswerCall
from policies.approvals import answering, selectors
from policies.approvals.answering import TERMS, Refused
from policies.approvals.models import CallApproval
from policies.approvals.selectors import KEPT_SHOWN


@in_org(Right.APPROVE, ("GET",))
def inbox(request: HttpRequest, place: Place) -> HttpResponse:
    """What waits, what was approved and holds yet, and what is over; to HTMX the part that changes."""
    by = place.actor
    context = {
        "layout": "dashboard/partial.html" if request.headers.get("HX-Request") else "base.html",
        "place": place,
        "waiting": selectors.lines(selectors.waiting(place.org).select_related("org"), by),
        "standing": selectors.lines(selectors.standing(place.org).select_related("org"), by),
        "past": selectors.lines(selectors.past(place.org).select_related("org")[:KEPT_SHOWN], by),
        "terms": TERMS,
        "may_configure": Right.MANAGE_POLICY in place.rights,
    }
    return render(request, "approvals/inbox.html", context)


@never_cache
@require_GET
@login_required
def held_call(request: HttpRequest, approval: UUID) -> HttpResponse:
    """One held call: for those who approve with the form to answer, for its caller how it stands."""
    row, approves = _seen(request, approval)
    return _page(request, row, approves=approves)


@never_cache
@require_POST
@login_required
def answer(request: HttpRequest, approval: UUID) -> HttpResponse:
    """Approve or deny it. The second answer changes nothing and says so."""
    row, approves = _seen(request, approval)
    form = AnswerCall(request.POST)
    if not approves:
        raise Http404
    if not form.is_valid():
        return _page(request, row, approves=True, status=400)
    given, by = form.cleaned_data, actor_of(request)
    try:
        if given["answer"] == AnswerCall.DENY:
            answering.deny(row, by=by, note=given["note"])
            messages.success(request, f"Denied: {row}. Its client is told so.")
        else:
            answering.approve(row, by=by, seconds=int(given["answer"]))
            messages.success(request, f"Approved: {row}, {TERMS[int(given['answer'])]}.")
    except Refused as refused:
        messages.error(request, str(refused))
    return _back(row)


@never_cache
@require_POST
@login_required
def take_back(request: HttpRequest, approval: UUID) -> HttpResponse:
    """End an approval that still holds."""
    row, approves = _seen(request, approval)
    if not approves:
        raise Http404
    try:
        answering.revoke(row, by=actor_of(request))
        messages.success(request, f"Taken back: {row}.")
    except Refused as refused:
        messages.error(request, str(refused))
    return _back(row)


def _page(request: HttpRequest, row: CallApproval, *, approves: bool, status: int = 200) -> HttpResponse:
    (line,) = selectors.lines([row], actor_of(request))
    partial = bool(request.headers.get("HX-Request"))
    context = {
        "layout": "dashboard/partial.html" if partial else "base.html",
        "line": line,
        "approves": approves,
        "own": row.person == request.user.pk,
        "terms": TERMS,
    }
    return render(request, "approvals/call.html", context, status=status)


def _seen(request: HttpRequest, approval: UUID) -> tuple[CallApproval, bool]:
    assert isinstance(request.user, User)
    found = selectors.seen_by(request.user, approval)
    if found is None:
        raise Http404
    return found


def _back(row: CallApproval) -> HttpResponse:
    return HttpResponseRedirect(reverse("approvals", args=[row.org.slug]))
