"""Failing checks show what they compared."""

import pytest

pytest.register_assert_rewrite("mechanism_checks")
