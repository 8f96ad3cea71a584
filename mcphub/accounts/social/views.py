"""The pages around a provider: the way there, and what happens on the way back."""

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import get_script_prefix
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST
from social_core.exceptions import SocialAuthBaseException

from mcphub.accounts import sign_in, throttle
from mcphub.accounts.social import explaining
from mcphub.accounts.social.entering import NotLetIn
from mcphub.accounts.social.providers import Provider, label_of, offered_by_name
from mcphub.accounts.social.strategy import backend_for, identify
from mcphub.accounts.views import holds_setup_link, too_many

ONWARD = "sign_in_next"


@never_cache
@require_POST
def start(request: HttpRequest, name: str) -> HttpResponse:
    """To the provider. Posted, so that no link on another page signs anybody in."""
    provider = _offered(name)
    try:
        sign_in.begin_with_provider(request, provider)
        answer: HttpResponse = backend_for(request, provider).start()
    except throttle.Throttled as limit:
        return too_many(request, limit)
    except SocialAuthBaseException as failure:
        return _failed(request, provider, failure)
    request.session[ONWARD] = request.POST.get("next", "")
    return answer


@never_cache
@require_GET
def complete(request: HttpRequest, name: str) -> HttpResponse:
    """Back from the provider: let in, or told why not and what to do."""
    provider = _offered(name)
    try:
        identity = identify(request, provider)
        sign_in.by_provider(request, identity, setup=holds_setup_link(request))
    except throttle.Throttled as limit:
        return too_many(request, limit)
    except (SocialAuthBaseException, NotLetIn) as failure:
        return _failed(request, provider, failure)
    wanted = request.session.pop(ONWARD, "")
    inside = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return HttpResponseRedirect(wanted if inside else get_script_prefix())


def _offered(name: str) -> Provider:
    provider = offered_by_name(name)
    if provider is None:
        raise Http404
    return provider


def _failed(request: HttpRequest, provider: Provider, failure: SocialAuthBaseException | NotLetIn) -> HttpResponse:
    sign_in.record_provider_failure(request, provider, explaining.cause_of(failure))
    found = explaining.of_failure(failure, label_of(provider))
    stranger = found.status == 403
    return render(request, "accounts/not_let_in.html", {"found": found, "stranger": stranger}, status=found.status)
