"""Other gateways, each installed into a place of its own below the user's cache folder on first use.

What does not install or start is left out, and the page says why.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from bench.machine import on_core
from bench.targets import KEY, TARGET_CORE, Target
from tests.harness.processes import free_port
from tests.harness.upstreams import listening

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mcphub" / "bench-peers"
INSTALL_S: Final = 300
NPM: Final = ("mcp-proxy@6.7.19", "supergateway@4.0.0")
SECRET: Final = "bench-secret-0123456789abcdef0123456789"


class Skipped(Exception):
    """This peer cannot be measured here; says why."""


def started(stack: ExitStack, folder: Callable[[str], Path], url: str) -> tuple[list[Target], dict[str, str]]:
    """The peers that run now, before the upstream at `url`, and why others do not."""
    found, skipped = [], {}
    for name, start in PEERS.items():
        try:
            found.append(stack.enter_context(start(folder(name.split()[0].replace("/", "-")), url)))
        except (Skipped, AssertionError, OSError, subprocess.SubprocessError, httpx.HTTPError) as error:
            skipped[name] = str(error).splitlines()[0][:300]
    return found, skipped


def _venv(*requirements: str) -> Path:
    """The `bin` folder of an environment that holds these packages."""
    place = CACHE / requirements[0].replace("=", "")
    if not (place / "ready").exists():
        shutil.rmtree(place, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(place)])
        _run([str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", *requirements])
        (place / "ready").touch()
    return place / "bin"


def _npm() -> Path:
    """The `.bin` folder with the npm peers."""
    npm = shutil.which("npm")
    if npm is None:
        raise Skipped("npm is not installed")
    place = CACHE / "npm"
    if not (place / "ready").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        _run([npm, "install", "--no-audit", "--no-fund", "--prefix", str(place), "node@22", *NPM])
        (place / "ready").touch()
    return place / "node_modules" / ".bin"


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
    if done.returncode:
        raise Skipped((done.stderr.strip().splitlines() or ["did not install"])[-1])


@dataclass(frozen=True, slots=True)
class _Program:
    """A peer's process: what runs, and beside which variables."""

    command: Sequence[str]
    port: int
    environment: dict[str, str]

    @contextmanager
    def running(self, folder: Path) -> Iterator[int]:
        with on_core(TARGET_CORE), listening(self.command, self.port, folder / "log", self.environment) as process:
            yield process.pid


def _environment(bin_: Path, **more: str) -> dict[str, str]:
    return {"PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/"), **more}


@contextmanager
def mcp_proxy(folder: Path, url: str) -> Iterator[Target]:
    """PyPI `mcp-proxy`, twice: HTTP to stdio in front, stdio to HTTP behind. It knows no keys."""
    bin_ = _venv("mcp-proxy==0.13.0")
    port = free_port()
    program = str(bin_ / "mcp-proxy")
    inner = ["--", program, "--transport", "streamablehttp", url]
    command = [program, "--port", str(port), "--host", "127.0.0.1", *inner]
    with _Program(command, port, _environment(bin_)).running(folder) as pid:
        yield Target("mcp-proxy 0.13 (PyPI), no key", f"http://127.0.0.1:{port}/mcp", "echo", "", pid)


@contextmanager
def npm_pair(folder: Path, url: str) -> Iterator[Target]:
    """npm `mcp-proxy` in front of `supergateway`, stdio between them."""
    bin_ = _npm()
    port = free_port()
    node = str(bin_ / "node")
    proxy, gateway = (str((bin_ / name).resolve()) for name in ("mcp-proxy", "supergateway"))
    inner = ["--", node, gateway, "--streamableHttp", url, "--logLevel", "none"]
    command = [node, proxy, "--host", "127.0.0.1", "--port", str(port), "--server", "stream", "--apiKey", KEY, *inner]
    with _Program(command, port, _environment(bin_)).running(folder) as pid:
        yield Target(
            "mcp-proxy 6.7 + supergateway 4 (npm)", f"http://127.0.0.1:{port}/mcp", "echo", KEY, pid, "X-API-Key"
        )


@contextmanager
def contextforge(folder: Path, url: str) -> Iterator[Target]:
    """PyPI `mcp-contextforge-gateway` on SQLite, upstream sessions kept, its rate limit off."""
    bin_ = _venv("mcp-contextforge-gateway==1.0.7.post20260921")
    port = free_port()
    settings = {
        "DATABASE_URL": f"sqlite:///{folder}/mcp.db",
        "JWT_SECRET_KEY": SECRET,
        "AUTH_ENCRYPTION_SECRET": SECRET,
        "BASIC_AUTH_PASSWORD": SECRET,
        "PLATFORM_ADMIN_EMAIL": "bench@example.com",
        "PLATFORM_ADMIN_PASSWORD": SECRET,
        "USE_STATEFUL_SESSIONS": "true",
        "RATE_LIMITING_ENABLED": "false",
        "SSRF_ALLOW_LOCALHOST": "true",
        "SSRF_ALLOW_PRIVATE_NETWORKS": "true",
        "LOG_LEVEL": "ERROR",
    }
    environment = _environment(bin_, **settings)
    command = [str(bin_ / "mcpgateway"), "--host", "127.0.0.1", "--port", str(port)]
    with _Program(command, port, environment).running(folder) as pid:
        token = _token(bin_, environment)
        base = f"http://127.0.0.1:{port}"
        tool = _register(base, token, url)
        yield Target("ContextForge 1.0.7 (PyPI), sessions kept", f"{base}/mcp/", tool, token, pid)


def _token(bin_: Path, environment: dict[str, str]) -> str:
    command = [
        str(bin_ / "python"), "-m", "mcpgateway.utils.create_jwt_token",
        "--username", "bench@example.com", "--exp", "600", "--secret", SECRET,
    ]  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Skipped("it makes no token: " + (done.stderr.strip().splitlines() or [""])[-1])
    return done.stdout.strip().splitlines()[-1]


def _register(base: str, token: str, url: str) -> str:
    """Enter the upstream; what its tool is called there."""
    headers = {"Authorization": f"Bearer {token}"}
    body = {"name": "bench", "url": url, "transport": "STREAMABLEHTTP"}
    with httpx.Client(base_url=base, headers=headers, timeout=60) as client:
        entered = client.post("/gateways", json=body)
        if entered.is_error:
            raise Skipped(f"it does not take the upstream: HTTP {entered.status_code} {entered.text[:150]}")
        tools = client.get("/tools").json()
    return str(tools[0]["name"])


PEERS: Final[dict[str, Callable[[Path, str], AbstractContextManager[Target]]]] = {
    "mcp-proxy (PyPI)": mcp_proxy,
    "npm pair (mcp-proxy + supergateway)": npm_pair,
    "ContextForge (PyPI mcp-contextforge-gateway)": contextforge,
}
