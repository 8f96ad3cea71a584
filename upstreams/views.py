"""Documents for upstreams."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from upstreams.claims import public_keys

KEPT_S = 300


@require_safe
def claim_keys(request: HttpRequest) -> JsonResponse:
    """The public keys with which an upstream checks what the hub says about callers."""
    return JsonResponse(public_keys(), headers={"Cache-Control": f"public, max-age={KEPT_S}"})
