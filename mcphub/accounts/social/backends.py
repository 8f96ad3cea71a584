"""social-core's backends as the hub uses them: guarded, PKCE always, and an `Identity` at the end of the way."""

from typing import Any, Final

from social_core.backends.github import GithubOAuth2
from social_core.backends.oauth import BaseOAuth2PKCE
from social_core.backends.open_id_connect import OpenIdConnectAuth
from social_core.exceptions import AuthConfigurationError, AuthResponseError

from mcphub.accounts.social.fetching import Guarded
from mcphub.accounts.social.identity import Identity, readable_claims
from mcphub.accounts.social.providers import PROVIDERS
from mcphub.core.addresses import issuer_fault

VERIFIED: Final = ("email_verified", "xms_edov")
"""What says that the address is theirs, in the document that names it; the second is Microsoft's word for it."""


class OpenIdConnect(Guarded, OpenIdConnectAuth):  # type: ignore[type-arg]  # generic in the answers of a framework
    """Any provider with a discovery document. Only public-key signatures are taken."""

    name = "oidc"
    JWT_ALGORITHMS = ["RS256", "ES256", "PS256", "RS384", "RS512", "ES384", "PS384", "EdDSA"]
    JWT_LEEWAY = 60
    DEFAULT_USE_PKCE = True
    STATE_LIFETIME = 600
    NONCE_LIFETIME = 600

    def oidc_endpoint(self) -> str:
        return PROVIDERS[self.name].issuer_url()

    def oidc_config(self) -> dict[str, Any]:
        """The discovery document; it must name the issuer that the operator named, and addresses that may be one."""
        found: dict[str, Any] = super().oidc_config()
        issuer = found.get("issuer")
        if not isinstance(issuer, str) or issuer.rstrip("/") != self.oidc_endpoint():
            said = f"the discovery document of {self.oidc_endpoint()} names the issuer {str(issuer)[:200]!r}"
            raise AuthConfigurationError(self, said, code="invalid_setting", parameter="issuer", stage="begin")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if issuer_fault(str(found.get(name, "")).split("?")[0]):
                raise AuthResponseError(self, name, code="malformed_response", claim=name, stage="begin")
        return found

    def auth_complete(self, *args: Any, **kwargs: Any) -> Any:
        """Checks who answers before the code goes anywhere (RFC 9207)."""
        said, config = self.data.get("iss"), self.oidc_config()
        required = config.get("authorization_response_iss_parameter_supported") is True and "code" in self.data
        if (said is None and required) or (said is not None and said != config["issuer"]):
            raise AuthResponseError(self, "the answer came from another issuer", claim="iss", code="invalid_claim")
        return super().auth_complete(*args, **kwargs)

    def user_data(self, access_token: str, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """Some providers put everything into the token and have no such endpoint."""
        return super().user_data(access_token, *args, **kwargs) if self.oidc_config().get("userinfo_endpoint") else {}

    def identity(self, response: dict[str, Any]) -> Identity:
        """Who it is, by the validated token and what the provider adds; what the token says goes before."""
        token = self.id_token or {}
        said: dict[str, Any] = {**response, **token}
        address = token if "email" in token else response
        return Identity(
            provider=self.name,
            issuer=self.oidc_endpoint(),
            subject=str(said["sub"]),
            email=address["email"].strip() if isinstance(address.get("email"), str) else "",
            verified=any(address.get(name) in (True, "true", "1") for name in VERIFIED),
            name=said["name"][:120] if isinstance(said.get("name"), str) else "",
            claims=readable_claims(said),
        )


class Google(OpenIdConnect):
    """Google by its discovery document."""

    name = "google"


class GitHub(Guarded, BaseOAuth2PKCE, GithubOAuth2):  # type: ignore[type-arg]
    """GitHub, which is OAuth without OpenID Connect: who it is comes from its API."""

    name = "github"
    STATE_LIFETIME = 600
    DEFAULT_SCOPE = ["read:user", "user:email"]

    def user_data(self, access_token: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The account, with the address that is its primary one if GitHub has verified it."""
        account = self._asked(access_token, "")
        if not isinstance(account, dict) or not isinstance(account.get("id"), int):
            raise AuthResponseError(self, "no account id", code="missing_claim", claim="id", stage="user_info")
        emails = self._asked(access_token, "/emails")
        known = [item for item in emails if isinstance(item, dict)] if isinstance(emails, list) else []
        chosen = next((item for item in known if item.get("primary")), {})
        return {**account, "email": chosen.get("email") or "", "email_verified": chosen.get("verified") is True}

    def _asked(self, access_token: str, path: str) -> Any:
        return self.get_json(f"{self.API_URL}user{path}", headers={"Authorization": f"Bearer {access_token}"})

    def identity(self, response: dict[str, Any]) -> Identity:
        """Who it is, by GitHub's number, which a renamed account keeps."""
        return Identity(
            provider=self.name,
            issuer="https://github.com",
            subject=str(response["id"]),
            email=str(response["email"]).strip(),
            verified=response["email_verified"],
            name=response["name"][:120] if isinstance(response.get("name"), str) else "",
            claims=readable_claims({name: response.get(name) for name in ("login", "company", "email", "name")}),
        )


BACKENDS = {backend.name: backend for backend in (OpenIdConnect, Google, GitHub)}
