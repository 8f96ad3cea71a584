"""What credentials ask of the OAuth client side, which registers here at start (`AppConfig.ready`).

Without it, a credential of kind OAuth can neither be begun nor renewed: it is used for as long as it lasts.
"""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from upstreams.credentials.models import Credential

Renew = Callable[[str, int], Coroutine[Any, Any, None]]
"""(credential id, the version that is not good enough): have a newer one in the row, or a reason why there is none.

Returns when the row is as good as it can be now: another process may have renewed it meanwhile. Single flight is
its own business. It raises nothing but `upstreams.errors.UpstreamError`, for what will pass by itself; whatever will
not it writes into the row's `state` and `problem`, and purges the secret (`services.purge`).
"""

Revoke = Callable[["Credential"], None]
"""A credential is about to be deleted: tell its issuer, some time after the transaction; raises nothing."""

Obtain = Callable[[str], Coroutine[Any, Any, None]]
"""(upstream id): fill the shared slot without a person (client credentials grant), if the upstream is set up so."""


class OAuthSide:
    """Functions of `upstreams.oauth`, set when it is there.

    `begin` is the name of a URL that takes the POST of the connect page (arguments: upstream id; form fields: holder,
    scopes, back) and answers with the redirect to the authorization server.
    """

    renew: Renew | None = None
    revoke: Revoke | None = None
    obtain: Obtain | None = None
    begin: str = ""


oauth: Final = OAuthSide()
