"""The rows of the feature table, and the tests that prove them.

A test names the rows that it proves with `@pytest.mark.requirement("P7")`. `DONE` holds the rows that work
over a real connection; a row stands there only with a test (`tests/test_requirements.py`).
`python -m tests.requirements` prints every row with its tests.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parent

FEATURES: Final[Mapping[str, str]] = {
    "P1": "aggregate endpoint",
    "P2": "one endpoint per upstream",
    "P3": "endpoint per org, and all my orgs",
    "P4": "both eras",
    "P5": "era bridge, all four combinations",
    "P6": "handshake sessions",
    "P7": "server→client requests",
    "P8": "fidelity",
    "P9": "list_changed both ways",
    "P10": "subscriptions",
    "P11": "pagination",
    "P12": "resources",
    "P13": "MCP Apps",
    "P14": "tasks extension",
    "P15": "resumability",
    "P16": "legacy HTTP+SSE",
    "P17": "identity",
    "P18": "ping, cancel, progress, logging, completions",
    "P19": "toolsets and `?tools=`",
    "P20": "tool search",
    "P21": "MCP over WebSocket",
    "N1": "`{upstream}__{tool}` always on aggregates",
    "N2": "slugs and collisions",
    "N3": "64 characters",
    "N4": "aliases",
    "N5": "bare names",
    "U1": "streamable HTTP, both eras",
    "U2": "SSE upstream",
    "U3": "stdio upstream",
    "U4": "agent upstream",
    "U5": "headers, env, args",
    "U6": "variables",
    "U7": "files",
    "U8": "secret detection",
    "U9": "`mcpServers` import",
    "U10": "start and stop",
    "U11": "test connection before saving",
    "U12": "persisted catalogue",
    "U13": "discovery",
    "U14": "default and fixed arguments per tool",
    "U15": "enable or disable single tools",
    "U16": "header forwarding",
    "U17": "health",
    "U18": "reconnect",
    "U19": "liveness",
    "U20": "one bad upstream never blocks start or lists",
    "U21": "egress guard",
    "U22": "claims to upstream",
    "R1": "subprocess",
    "R2": "bubblewrap",
    "R3": "E2B",
    "R4": "choice and gate",
    "R5": "start failures",
    "R6": "logs",
    "R7": "on-demand start, idle stop, shared / per user / per session",
    "C1": "modes none, shared, per user",
    "C2": "OAuth client",
    "C3": "connect page",
    "C4": "static client per upstream or per domain",
    "C5": "refresh",
    "C6": "failure classes",
    "C7": "client credentials grant, static header, API-key slot per user",
    "C8": "encrypted at rest in every mode; rotation without logout",
    "C9": "re-connect notice",
    "S1": "authorization server for MCP clients",
    "S2": "flood limits on anonymous OAuth state",
    "S3": "API keys",
    "S4": "service keys",
    "S5": "external JWTs",
    "S6": "attribute → role mapping",
    "S7": "people sign in",
    "S8": "sign-in sessions",
    "S9": "agent and CLI sign-in",
    "S10": "open mode",
    "T1": "orgs with slugs, switcher, delete",
    "T2": "invitations",
    "T3": "last owner protected, also under race",
    "T4": "removal",
    "T5": "hub admins over orgs",
    "T6": "tenant isolation",
    "T7": "self-service orgs",
    "T8": "quotas per org",
    "O1": "built-in roles, own roles, several per principal",
    "O2": "grants per role and upstream, auto-grant, per-tool switches, categories",
    "O3": "priority rules, comma globs, first match, allow / deny / ask",
    "O4": "risk classes with override",
    "O5": "application match",
    "O6": "argument conditions",
    "O7": "lists equal calls",
    "O8": "effect on the next call, running clients told",
    "O9": "explain, dry run, replay",
    "O10": "approvals",
    "O11": "definition ledger",
    "O12": "rate limits",
    "A1": "every call and denial",
    "A2": "intent before dispatch, fail-closed",
    "A3": "payload modes none / hash / redacted / full",
    "A4": "operator acts, sign-ins, connects",
    "A5": "search, filters, stats, export",
    "A6": "retention and pruning",
    "A7": "tamper evidence",
    "A8": "live feed",
    "D1": "first run",
    "D2": "needs attention",
    "D3": "tools",
    "D4": "upstreams",
    "D5": "policies",
    "D6": "audit timeline",
    "D7": "metrics and usage",
    "D8": "people, roles, invitations, keys, devices",
    "D9": "mine",
    "D10": "manners",
    "D11": "settings page",
    "D12": "Django admin",
    "X1": "REST API",
    "X2": "Prometheus",
    "X3": "OpenTelemetry",
    "X4": "structured logs",
    "X5": "health and drain",
    "X6": "horizontal scale",
    "X7": "configuration as code",
    "X8": "one-server start",
    "X9": "images, compose, Helm",
    "X10": "Admin MCP",
    "X11": "migrations",
    "X12": "behind a proxy",
    "X13": "settings",
    "X14": "modes and start checks",
    "X15": "throw-away and demo",
    "X16": "release",
    "X17": "documentation",
    "X18": "commands",
    "G1": "WebSocket tunnel",
    "G2": "identity",
    "G3": "commands",
    "G4": "resilience",
    "G5": "install",
    "G6": "releases",
}

DONE: Final = frozenset(
    [
        "P1",
        "P2",
        "P3",
        "P4",
        "P5",
        "P6",
        "P7",
        "P8",
        "P9",
        "P10",
        "P13",
        "P14",
        "P16",
        "P18",
        "P19",
        "P20",
        "P21",
        "N1",
        "N4",
        "N5",
        "U1",
        "U2",
        "U3",
        "U7",
        "U14",
        "U16",
        "U22",
        "C8",
        "C2",
        "C4",
        "C5",
        "C6",
        "C9",
        "S1",
        "S6",
        "S9",
        "A2",
        "A7",
        "O2",
        "O3",
        "O9",
        "O10",
        "O11",
        "O12",
        "D5",
        "X5",
        "X8",
        "X13",
        "X14",
        "S3",
        "S4",
        "T4",
        "T6",
        "C1",
        "C3",
        "U5",
        "U21",
        "X12",
    ]
)


FAULTS: Final = frozenset(f"F{number:02}" for number in range(1, 62)) - {"F08"}
"""The ids of the fault matrix, which tests may name as well."""


def proofs() -> dict[str, list[str]]:
    """Row id → `file::test` of every test that names it, read from the source so that nothing has to run."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, node in _marked(ast.parse(path.read_text(), str(path))):
            for row in _rows(node):
                found[row].append(f"{path.relative_to(TESTS.parent)}::{name}")
    return dict(found)


def _marked(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Every decorator of a test or a test class, and the expressions of `pytestmark`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from ((node.name, decorator) for decorator in node.decorator_list)
        elif isinstance(node, ast.Assign) and any(_is_name(target, "pytestmark") for target in node.targets):
            yield "*", node.value


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _rows(node: ast.expr) -> Iterator[str]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "requirement":
            yield from (str(ast.literal_eval(argument)) for argument in call.args)


if __name__ == "__main__":
    proved = proofs()
    for row, feature in FEATURES.items():
        print(f"{row:4} {'done' if row in DONE else '':5} {feature}")
        for test in proved.get(row, ()):
            print(f"{'':10} {test}")
