"""Held calls: the inbox of those who approve, and the page of one call, which its caller may look at too."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

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


@in_org(None, ("GET",))
def held_call(request: HttpRequest, place: Place, approval: UUID) -> HttpResponse:
    """One held call: for those who approve with the form to answer, for its caller how it stands."""
    return _page(request, place, _seen(place, approval))


@in_org(Right.APPROVE, ("POST",))
def answer(request: HttpRequest, place: Place, approval: UUID) -> HttpResponse:
    """Approve or deny it. The second answer changes nothing and says so."""
    row, form = _seen(place, approval), AnswerCall(request.POST)
    if not form.is_valid():
        return _page(request, place, row, status=400)
    given = form.cleaned_data
    try:
        if given["answer"] == AnswerCall.DENY:
            answering.deny(row, by=place.actor, note=given["note"])
            messages.success(request, f"Denied: {row}. Its client is told so.")
        else:
            answering.approve(row, by=place.actor, seconds=int(given["answer"]))
            messages.success(request, f"Approved: {row}, {TERMS[int(given['answer'])]}.")
    except Refused as refused:
        messages.error(request, str(refused))
    return _back(place)


@in_org(Right.APPROVE, ("POST",))
def take_back(request: HttpRequest, place: Place, approval: UUID) -> HttpResponse:
    """End an approval that still holds."""
    row = _seen(place, approval)
    try:
        answering.revoke(row, by=place.actor)
        messages.success(request, f"Taken back: {row}.")
    except Refused as refused:
        messages.error(request, str(refused))
    return _back(place)


def _page(request: HttpRequest, place: Place, row: CallApproval, status: int = 200) -> HttpResponse:
    (line,) = selectors.lines([row], place.actor)
    context = {
        "layout": "dashboard/partial.html" if request.headers.get("HX-Request") else "base.html",
        "place": place,
        "line": line,
        "approves": Right.APPROVE in place.rights,
        "own": row.person == place.user.pk,
        "terms": TERMS,
    }
    return render(request, "approvals/call.html", context, status=status)


def _seen(place: Place, approval: UUID) -> CallApproval:
    """A held call of the org, for its caller and for those who approve. Raises `Http404`."""
    rows = CallApproval.objects.for_org(place.org).select_related("org")
    if Right.APPROVE not in place.rights:
        rows = rows.filter(person=place.user.pk)
    row = rows.filter(pk=approval).first()
    if row is None:
        raise Http404
    return row


def _back(place: Place) -> HttpResponse:
    return HttpResponseRedirect(reverse("approvals", args=[place.org.slug]))
