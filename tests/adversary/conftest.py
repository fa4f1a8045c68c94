"""The checks of tests/privacy and the fixtures of the unit tests serve here too."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("privacy", "unit")]
