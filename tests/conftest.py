"""What tests of several folders share: modules of checks and fixtures, found by name and telling what they compared."""

import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path += [str(Path(__file__).parent / folder) for folder in ("unit", "privacy", "integration", "../deploy")]
pytest.register_assert_rewrite("mechanism_checks")

# The same cases in each run, drawn from each test's own text; `pytest --hypothesis-profile=default` draws new ones.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")
