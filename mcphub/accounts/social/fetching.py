"""What social-core asks of providers, through the hub's egress guard instead of its own client."""

from typing import Any, Final

import httpx
import requests
from django.conf import settings
from social_core.exceptions import AuthConfigurationError, AuthProviderError, AuthResponseError

from mcphub.core import http
from mcphub.core.netguard import EgressBlocked

TIMEOUT_S: Final = 8.0
MOST_BYTES: Final = 512 * 1024


class Guarded:
    """A mixin for social-core backends: every request is judged by address, bounded in time and size."""

    def request(self, url: str, *, method: str = "GET", stage: Any = "user_info", **given: Any) -> requests.Response:
        """As `BaseAuth.request`. Raises social-core's `AuthProviderError` and its kin."""
        accepted = {name: given[name] for name in ("headers", "data", "json", "auth", "params") if given.get(name)}
        try:
            with (
                http.blocking_client(settings.HUB.egress_allow, TIMEOUT_S) as client,
                client.stream(method, url, **accepted) as answer,
            ):
                found = _taken(answer)
        except EgressBlocked as blocked:
            raise AuthConfigurationError(self, str(blocked), code="invalid_setting", stage=stage) from blocked  # type: ignore[arg-type]
        except http.RedirectedElsewhere as elsewhere:
            raise AuthProviderError(self, str(elsewhere), code="connection_failed", stage=stage) from elsewhere  # type: ignore[arg-type]
        except httpx.TimeoutException as error:
            raise AuthProviderError(self, _where(url), code="timeout", stage=stage) from error  # type: ignore[arg-type]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AuthProviderError(self, _where(url), str(error), code="connection_failed", stage=stage) from error  # type: ignore[arg-type]
        if found is None:
            raise AuthResponseError(self, f"{_where(url)} sent too much", code="malformed_response", stage=stage)  # type: ignore[arg-type]
        if found.status_code >= 400:
            code = "unavailable" if found.status_code >= 500 else "http_error"
            detail = f"{_where(url)} answered {found.status_code}"
            raise AuthProviderError(self, detail, _said(found), code=code, stage=stage, status_code=found.status_code)  # type: ignore[arg-type]
        return found


def _taken(answer: httpx.Response) -> requests.Response | None:
    """The answer as social-core reads it; None when it is too large."""
    body = bytearray()
    for piece in answer.iter_bytes():
        body += piece
        if len(body) > MOST_BYTES:
            return None
    found = requests.Response()
    found.status_code = answer.status_code
    found.headers.update(answer.headers)
    found.encoding = "utf-8"
    found._content = bytes(body)
    found.url = str(answer.url)
    return found


def _where(url: str) -> str:
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.host}{parts.path}"


def _said(answer: requests.Response) -> str:
    """The code of an OAuth error, which tells an operator what is wrong; nothing else of the body."""
    try:
        document = answer.json()
    except ValueError:
        return ""
    said = document.get("error") if isinstance(document, dict) else None
    return said[:80] if isinstance(said, str) else ""
