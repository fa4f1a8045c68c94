"""What tests of several folders share: modules of checks and fixtures, found by name and telling what they compared."""

import sys
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).parent / folder) for folder in ("unit", "privacy", "integration", "../deploy")]
pytest.register_assert_rewrite("mechanism_checks")
