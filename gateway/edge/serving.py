"""Handing one request to the core, whatever comes of it."""

import asyncio

import structlog

from gateway.edge.incoming import Caller
from gateway.edge.reply import Reply
from gateway.errors import INVALID_REQUEST, Refused
from gateway.types import GatewayCore, NeedsScope, NotFound, Request, Unauthenticated, Unavailable
from upstreams.errors import RpcError

METHOD_CHARS = 80

log = structlog.get_logger(__name__)


async def serve(core: GatewayCore, request: Request, reply: Reply) -> None:
    """Let the core answer `request`. Afterwards `reply` has ended, and no exception of the core is left.

    Raises `CancelledError` only when the server itself ends this task.
    """
    try:
        await core.handle(request, reply)
    except asyncio.CancelledError:
        if not reply.cancelled:
            raise
    except Unavailable as unavailable:
        reply.outlet.headers += ((b"retry-after", b"%d" % unavailable.retry_after),)
        reply.error(unavailable.error, 503)
    except NotFound:
        reply.error(RpcError(INVALID_REQUEST, "Not found"), 404)
    except Refused as refused:
        reply.outlet.headers += tuple(refused.headers)
        reply.error(refused.error, refused.status)
    except Exception:  # the top of a request: the client gets an answer, the log the reason
        log.exception("request_failed", method=request.method[:METHOD_CHARS])
    finally:
        if reply.cancelled and reply.task is not None:
            reply.task.uncancel()
    reply.close()


def still_allowed(core: GatewayCore, caller: Caller) -> bool:
    """Whether the credential of a long-lived stream still opens it; `caller.principal` is what it is now.

    A worker that cannot confirm its snapshot closes streams rather than keep one that may be revoked.
    """
    try:
        now = core.principal(caller.credentials, caller.route, caller.source)
    except (Unauthenticated, NeedsScope, NotFound, Unavailable):
        return False
    same = now.id == caller.principal.id and now.org.id == caller.principal.org.id
    caller.principal = now
    return same
