"""The API against its own description: schemathesis makes requests from the OpenAPI document, good and bad ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.hub import Hub

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "unsupported_method,use_after_free"
)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.requirement("X1")
def test_what_the_api_answers_is_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text('[parameters]\n"path.org" = "default"\n')
    with Hub(tmp_path) as hub:
        hub.up()
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"{hub.url}/api/v1/openapi.json",
                "--header",
                f"X-API-Key: {hub.key}",
                "--checks",
                CHECKS,
                "--phases",
                "fuzzing",
                "--max-examples",
                "5",
                "--seed",
                "1",
                "--request-timeout",
                "20",
                "--no-color",
            ],
            env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert hub.process.exit_code is None
