"""Compiles what the image's programs import, and only that: a third of the bytecode, for all of the gain.

A read-only image cannot keep bytecode of its own, and would compile at every start (7.5 s of a core instead of 3.2).
The files are told from their sources by hash and never checked: equal sources give equal images.
"""

import importlib
import py_compile
import subprocess
import sys
from pathlib import Path

# One process each: some of these may not be imported together (the relay without torch is a promise of its own).
PROGRAMS = (
    ("silosynth.simulations.cli", "silosynth.client.relay", "silosynth.client.node"),
    ("silosynth.client.agent", "silosynth.client.engines.autoregressive", "silosynth.client.engines.gan", "opacus"),
    ("silosynth.client.sources.parquet_file", "silosynth.client.sources.sql", "psycopg"),
    ("silosynth.server.superlink", "silosynth.server.launch", "silosynth.server.publish", "uvicorn", "uvloop"),
)


def main(names: list[str]) -> None:
    """Compile what importing `names` loads; without names, what each of PROGRAMS does."""
    if not names:
        for program in PROGRAMS:
            subprocess.run([sys.executable, __file__, *program], check=True)
        return
    for name in names:
        importlib.import_module(name)
    loaded = [Path(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
    ours = [path for path in loaded if path.suffix == ".py" and path.is_relative_to(sys.prefix)]
    for path in ours:
        py_compile.compile(str(path), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    print(f"{names[0]}: {len(ours)} modules compiled")


if __name__ == "__main__":
    main(sys.argv[1:])
