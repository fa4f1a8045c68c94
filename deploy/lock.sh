#!/bin/sh
# Writes deploy/requirements.txt: every package of the image, one version, its hashes. uv comes with this software.
#   deploy/lock.sh [--upgrade]
# Torch has to resolve to its CPU build (a version that ends in +cpu): PyTorch's installation page names where it is
# served; tell uv by its environment variables, which this script passes on. Nothing of them is written to the file.
set -eu
cd "$(dirname "$0")/.."
uv pip compile pyproject.toml --extra coordinator --extra sql --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
    --only-binary :all: --generate-hashes --no-header --no-annotate --quiet "$@" --output-file deploy/requirements.txt
if ! grep -q '^torch==.*+cpu ' deploy/requirements.txt; then
    echo "deploy/requirements.txt: torch is not its CPU build, and carries gigabytes of CUDA; see the top of $0" >&2
    exit 1
fi
