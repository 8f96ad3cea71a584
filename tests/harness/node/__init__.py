"""The npm side of the harness: official TypeScript clients, servers and the Inspector, on Node 22.

They are installed once, into `var/npm/` of the checkout, from the lock file beside this module.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from tests.harness.hub import ROOT
from tests.harness.services import program

HERE: Final = Path(__file__).parent
INSTALL_S: Final = 300
RUN_S: Final = 60
INSPECTOR: Final = "@modelcontextprotocol/inspector/clients/launcher/build/index.js"


@cache
def modules() -> Path:
    """The `node_modules` folder, installed on first use. Skips the test when npm is missing."""
    npm = program("npm")
    lock = (HERE / "package-lock.json").read_bytes()
    folder = ROOT / "var" / "npm" / hashlib.sha256(lock).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, folder / name)
            subprocess.run(
                [npm, "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, capture_output=True, timeout=INSTALL_S
            )
            (folder / "ready").touch()
        for name in ("authorizing.mjs", "client.mjs", "oidc.mjs", "provider.mjs", "server.mjs"):
            shutil.copy(HERE / name, folder / name)
    return folder / "node_modules"


def command(name: str, *arguments: str) -> list[str]:
    """The command line of an installed npm program, run by the installed Node."""
    return [str(modules() / ".bin" / "node"), str((modules() / ".bin" / name).resolve()), *arguments]


def server() -> list[str]:
    """The command line of the server on the TypeScript SDK 2.x."""
    return [str(modules() / ".bin" / "node"), str(modules().parent / "server.mjs")]


def authorization_server(port: int, resource: str, log: Path) -> list[str]:
    """The command line of the authorization server for one resource; see `oidc.mjs`."""
    return [str(modules() / ".bin" / "node"), str(modules().parent / "oidc.mjs"), str(port), resource, str(log)]


def example(name: str) -> list[str]:
    """The command line of one of the servers that the TypeScript SDK 1.x brings as examples."""
    file = modules() / "@modelcontextprotocol" / "sdk" / "dist" / "esm" / "examples" / "server" / f"{name}.js"
    return [str(modules() / ".bin" / "node"), str(file)]


def environment() -> dict[str, str]:
    """The caller's environment, with the installed Node first on PATH."""
    return {**os.environ, "PATH": f"{modules() / '.bin'}{os.pathsep}{os.environ['PATH']}"}


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a client saw: the revision, `{"result": …}` or `{"error": …}` for every step, and what it was asked."""

    revision: str
    answers: list[dict[str, Any]]
    asked: list[tuple[str, dict[str, Any]]]


def typescript(
    sdk: Literal["1", "2"],
    url: str,
    key: str,
    steps: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    pin: str = "",
    replies: Mapping[str, Mapping[str, Any]] | None = None,
) -> Transcript:
    """Run `steps` (method of the client, its argument) with the TypeScript SDK; `pin` fixes a modern revision.

    `replies`: what a server may ask the client, by method, and the result that it gets.
    """
    headers = {"Authorization": f"Bearer {key}"}
    script = {"sdk": sdk, "pin": pin, "url": url, "headers": headers, "steps": steps, "replies": replies or {}}
    done = subprocess.run(
        [modules() / ".bin" / "node", modules().parent / "client.mjs"],
        input=json.dumps(script),
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
    assert done.returncode == 0, done.stderr
    return Transcript(**json.loads(done.stdout))


def inspector(url: str, key: str, *arguments: str) -> Any:
    """What the Inspector's command line prints for `--method …`, parsed."""
    options = ("--transport", "http", "--header", f"Authorization: Bearer {key}", *arguments)
    done = subprocess.run(
        [modules() / ".bin" / "node", modules() / INSPECTOR, "--cli", url, *options],
        capture_output=True,
        text=True,
        timeout=RUN_S,
        env=environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def authorizing() -> list[str]:
    """The command line of a client that a person lets in; see `authorizing.mjs`."""
    return [str(modules() / ".bin" / "node"), str(modules().parent / "authorizing.mjs")]
