"""The settings that the suite runs under, in place before Django reads any.

pytest loads this module first (`-p tests.environment`). Settings of the person who runs the suite do not
reach it; data goes to a folder that is gone afterwards. `MCPHUB_TEST_DATABASE=postgresql` starts a private
PostgreSQL for the run, and `MCPHUB_TEST_…` variables are the only ones that are read.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from tests.harness.services import PostgreSQL

FOLDER: Final = Path(tempfile.mkdtemp(prefix="mcphub-tests-"))
SHARED_URL: Final = "MCPHUB_TEST_DATABASE_URL"

_own_database: PostgreSQL | None = None


def _prepare() -> None:
    global _own_database
    for name in [name for name in os.environ if name.startswith("MCPHUB_")]:
        if not name.startswith("MCPHUB_TEST_"):
            del os.environ[name]
    os.environ["MCPHUB_DATA_DIR"] = str(FOLDER)
    if os.environ.get("MCPHUB_TEST_DATABASE") == "postgresql" and SHARED_URL not in os.environ:
        _own_database = PostgreSQL()
        _own_database.start()
        os.environ[SHARED_URL] = _own_database.url
    if SHARED_URL in os.environ:
        os.environ["MCPHUB_DATABASE_URL"] = os.environ[SHARED_URL]


def pytest_unconfigure() -> None:
    if _own_database is not None:
        _own_database.close()
    shutil.rmtree(FOLDER, ignore_errors=True)


_prepare()
