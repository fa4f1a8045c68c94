"""Speed and quality, measured: `python -m silosynth.simulations.bench [NAME ...]`. See __main__ for what there is.

Importing this package asks numerical libraries for one thread, if they are not loaded yet: figures are per core.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
