"""The cells' own assertions explain themselves as a test's do."""

import pytest

pytest.register_assert_rewrite("tests.matrix.cells")
