"""Every limit and timeout of the hub in one typed table; `MCPHUB_LIMITS` overrides by name."""

import math
from dataclasses import dataclass, fields, replace
from typing import Self


@dataclass(frozen=True, slots=True)
class Limits:
    """Defaults. Names ending in `_s` are seconds, in `_bytes` bytes; others are counts."""

    header_bytes: int = 32 * 1024
    headers: int = 100
    body_bytes: int = 4 * 1024 * 1024
    header_s: float = 10
    body_s: float = 30
    write_s: float = 30
    result_bytes: int = 16 * 1024 * 1024
    stream_bytes: int = 4 * 1024 * 1024
    talk_s: float = 15
    event_bytes: int = 4 * 1024 * 1024
    list_entries: int = 10_000
    list_pages: int = 100
    page_size: int = 1_000
    connect_s: float = 5
    probe_s: float = 5
    resolve_s: float = 30
    upstream_idle_s: float = 4
    upstream_idle: int = 128
    upstream_header_bytes: int = 64 * 1024
    refusal_bytes: int = 64 * 1024
    retry_after_s: float = 3_600
    notes: int = 10_000
    questions: int = 32
    call_s: float = 60
    call_hard_s: float = 300
    person_s: float = 600
    page_wait_s: float = 20
    parked: int = 1_000
    approval_s: float = 3_600
    approval_wait_s: float = 45
    approval_bytes: int = 64 * 1024
    approvals: int = 20
    keepalive_s: float = 15
    initialize_s: float = 30
    stop_grace_s: float = 2
    heartbeat_s: float = 30
    discovery_s: float = 300
    backoff_max_s: float = 60
    unreachable_s: float = 2
    breaker_failures: int = 5
    breaker_s: float = 10
    sessions: int = 10_000
    principal_sessions: int = 20_000
    subscriptions: int = 1_000
    session_idle_s: float = 3_600
    session_flush_s: float = 60
    connections: int = 20_000
    source_connections: int = 2_000
    connection_requests: int = 100
    message_frames: int = 1_000
    streams: int = 10_000
    principal_streams: int = 1_000
    stream_s: float = 0
    replay_bytes: int = 256 * 1024
    replay_streams: int = 16
    replay_total_bytes: int = 64 * 1024 * 1024
    replay_s: float = 300
    snapshot_poll_s: float = 0.25
    snapshot_stale_s: float = 5
    token_cache_s: float = 5
    drain_notice_s: float = 0
    drain_s: float = 25
    audit_queue_rows: int = 10_000
    audit_queue_bytes: int = 64 * 1024 * 1024
    audit_arguments_bytes: int = 16 * 1024
    audit_head_s: float = 60
    audit_silent_s: float = 60
    condition_bytes: int = 64 * 1024
    condition_nodes: int = 2_000
    stderr_bytes: int = 64 * 1024
    noise_lines: int = 100
    issuer_keys_s: float = 300
    issuer_retry_s: float = 30
    key_attempts: int = 30
    key_window_s: float = 60
    sign_in_attempts: int = 10
    sign_in_window_s: float = 300
    link_s: float = 900
    invitation_s: float = 604_800
    token_s: float = 3_600
    refresh_s: float = 2_592_000
    code_s: float = 60
    consent_s: float = 600
    pending_codes: int = 20
    applications: int = 500
    clients: int = 10_000
    source_clients: int = 20
    client_window_s: float = 3_600
    client_idle_s: float = 86_400
    client_bytes: int = 16 * 1024
    client_redirects: int = 20
    authorize_bytes: int = 8 * 1024
    document_s: float = 5
    documents: int = 10
    mail_s: float = 10
    lease_s: float = 30
    oauth_s: float = 10
    oauth_bytes: int = 256 * 1024
    authorization_s: float = 600
    step_ups: int = 3
    renew_lease_s: float = 30
    renew_wait_s: float = 20
    renew_margin_s: float = 1_200
    renew_age_s: float = 14_400
    renew_failures: int = 5
    renew_failing_s: float = 1_800
    ack_s: float = 2
    silent_s: float = 10

    def override(self, text: str) -> Self:
        """Apply `name=value,name=value`. Raises `ValueError` that names each unknown or bad entry."""
        known = {item.name: item.type for item in fields(self)}
        changes: dict[str, float] = {}
        faults = []
        for entry in filter(None, (part.strip() for part in text.split(","))):
            name, _, value = entry.partition("=")
            try:
                number = int(value) if known[name.strip()] is int else float(value)
            except KeyError:
                faults.append(f"unknown limit {name.strip()!r}")
                continue
            except ValueError:
                faults.append(f"{name.strip()} is not a number: {value!r}")
                continue
            if not 0 <= number < math.inf:
                faults.append(f"{name.strip()} is negative or not finite")
            changes[name.strip()] = number
        if faults:
            raise ValueError("; ".join(faults))
        return replace(self, **changes)  # type: ignore[arg-type]
