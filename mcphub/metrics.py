"""`/metrics` in Prometheus' text format: for this machine, and from elsewhere with `MCPHUB_METRICS_TOKEN`."""

import hmac
import os
from collections.abc import Iterator
from typing import Final

from django.conf import settings
from prometheus_client import CollectorRegistry, Metric, generate_latest, multiprocess
from prometheus_client.core import REGISTRY, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from audit.writer import writer
from gateway.runtime import runtime
from gateway.server.drain import Receive, Scope, Send, drain
from mcphub.core.aio import in_thread
from mcphub.core.peer import is_from_here
from mcphub.front import answer

PATH: Final = "/metrics"


class Now(Collector):
    """What this process holds at the moment. The state of upstreams is the same in every process."""

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        yield GaugeMetricFamily("mcphub_draining", "Whether the process ends.", value=drain().draining)
        rows, size = writer().queued
        yield GaugeMetricFamily("mcphub_audit_queue_rows", "Events that are not stored yet.", value=rows)
        yield GaugeMetricFamily("mcphub_audit_queue_bytes", "Their size.", value=size)
        yield GaugeMetricFamily("mcphub_streams", "Open streams of clients.", value=runtime().edge_app.open_streams)
        up = GaugeMetricFamily("mcphub_upstream_up", "Whether it was reached at last.", labels=("org", "upstream"))
        tripped = GaugeMetricFamily(
            "mcphub_upstream_breaker_open", "Whether only trial calls go through.", labels=("org", "upstream")
        )
        orgs = runtime().snapshots.orgs
        for keeper in runtime().connections.keepers():
            if (snapshot := orgs.get(keeper.spec.org_id)) is not None:
                labels = (snapshot.org.slug, keeper.spec.slug)
                up.add_metric(labels, not keeper.failing)
                tripped.add_metric(labels, keeper.breaker.tripped)
        yield from (up, tripped)


def text() -> bytes:
    """Everything, in the text format 0.0.4. With several web processes on this machine counts are theirs together."""
    now = CollectorRegistry(auto_describe=False)
    now.register(Now())
    counted = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        counted = CollectorRegistry()
        multiprocess.MultiProcessCollector(counted)  # type: ignore[no-untyped-call]  # the library's
    return generate_latest(counted) + generate_latest(now)


def may_read(scope: Scope) -> bool:
    """Whether the one who asks is on this machine, unforwarded, or has the token."""
    headers = scope["headers"]
    token = settings.HUB.metrics_token.encode()
    if token and any(
        name == b"authorization" and hmac.compare_digest(value, b"Bearer " + token) for name, value in headers
    ):
        return True
    peer, _ = scope.get("client") or ("", 0)
    return is_from_here(peer, (name.decode("latin-1") for name, _ in headers))


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `/metrics`; 403 to those who may not read it."""
    if not may_read(scope):
        await answer(send, 403, {"error": "metrics are for this machine, or for MCPHUB_METRICS_TOKEN"})
        return
    body = await in_thread(text)
    headers = [(b"content-type", CONTENT_TYPE_PLAIN_0_0_4.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
