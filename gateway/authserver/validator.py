"""How the hub judges token requests: django-oauth-toolkit's rules, with our approval beside each code and token."""

from typing import Any
from uuid import UUID

from django.db import transaction
from oauth2_provider.models import RefreshToken
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.oauth2.rfc6749 import errors

from gateway.authserver import approvals
from gateway.authserver.approvals import BY_CLIENT, REUSE, digest
from gateway.authserver.models import Approval


class HubValidator(OAuth2Validator):  # type: ignore[misc]  # untyped
    """A code or token counts only while its approval works; one that is used twice ends it (F35)."""

    # --- codes ---------------------------------------------------------------------------------------

    def _create_authorization_code(self, request: Any, code: Any, expires: Any = None) -> Any:
        made = super()._create_authorization_code(request, code, expires)
        Approval.objects.filter(pk=request.approval_id).update(code_digest=digest(code["code"]))
        return made

    def validate_code(self, client_id: str, code: str, client: Any, request: Any, *args: Any, **kwargs: Any) -> bool:
        approval = Approval.objects.filter(code_digest=digest(code), application=client).first()
        if approval is None:
            return False
        if approval.redeemed_at is not None:
            approvals.end([approval], REUSE)
            return False
        if approvals.working(approval.pk) is None:
            return False
        request.approval = approval
        return bool(super().validate_code(client_id, code, client, request, *args, **kwargs))

    # --- tokens --------------------------------------------------------------------------------------

    def validate_refresh_token(
        self, refresh_token: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        row = RefreshToken.objects.filter(token_checksum=digest(refresh_token)).order_by("-pk").first()
        if row is None or row.application_id != client.pk:
            return False
        approval = Approval.objects.filter(pk=row.token_family).first()
        if approval is None:
            return False
        if row.revoked is not None:
            approvals.end([approval], REUSE)
            return False
        if approvals.working(approval.pk) is None:
            return False
        request.approval = approval
        return bool(super().validate_refresh_token(refresh_token, client, request, *args, **kwargs))

    def save_bearer_token(self, token: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Of two requests with one code or one refresh token the first wins, and the second ends them both."""
        with transaction.atomic():
            if self._is_first(request):
                return super().save_bearer_token(token, request, *args, **kwargs)
        approvals.end([request.approval], REUSE)
        raise errors.InvalidGrantError(request=request)

    def _is_first(self, request: Any) -> bool:
        if request.grant_type == "authorization_code":
            return approvals.redeem(request.approval)
        row = RefreshToken.objects.select_for_update().filter(pk=request.refresh_token_instance.pk).first()
        return row is not None and row.revoked is None

    def _create_refresh_token(self, request: Any, code: str, access_token: Any, previous: Any) -> Any:
        made = super()._create_refresh_token(request, code, access_token, previous)
        if made.token_family != request.approval.pk:
            RefreshToken.objects.filter(pk=made.pk).update(token_family=request.approval.pk)
        return made

    def _check_and_set_request_resource(self, request: Any) -> None:
        """The token is for the endpoint that was approved; a request may name no other (RFC 8707 section 2.2).

        `endpoints` has turned the URLs into paths of this hub.
        """
        asked = [value for name, value in (request.decoded_body or ()) if name == "resource"]
        if any(path != request.approval.path for path in asked):
            raise errors.CustomOAuth2Error(
                error="invalid_target", description="The resource is not the one that was approved."
            )
        request.resource = [request.approval.path]

    def revoke_token(self, token: str, token_type_hint: Any, request: Any, *args: Any, **kwargs: Any) -> None:
        """A client that gives one of its tokens back ends its connection."""
        family = family_of(token, getattr(request.client, "pk", None))
        super().revoke_token(token, token_type_hint, request, *args, **kwargs)
        if family is not None:
            approvals.end(approvals.living().filter(pk=family), BY_CLIENT)


def family_of(token: str, client_pk: Any) -> UUID | None:
    """The approval behind a client's access or refresh token."""
    checksum = digest(token)
    mine = RefreshToken.objects.filter(application=client_pk)
    row = mine.filter(token_checksum=checksum).first() or mine.filter(access_token__token_checksum=checksum).first()
    return row.token_family if row else None
