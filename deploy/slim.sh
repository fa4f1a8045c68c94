#!/bin/sh
# Takes out of an image's environment what running never needs: installers, headers, tests, bytecode of the build.
#   slim.sh VENV
set -eu
venv=$1
cd "$venv"/lib/python3.*/site-packages

# Nothing in an image can install anything: uv's binary comes with flwr, which would run it to install what it is sent.
rm -rf pip pip-*.dist-info
rm -f "$venv"/bin/pip* "$venv"/bin/uv "$venv"/bin/uvx

rm -rf torch/test torch/include torch/share/cmake pyarrow/include pyarrow/src
find torch/bin -type f ! -name torch_shm_manager -delete # torch does not import without that one
for package in networkx numpy pandas pyarrow scipy sympy greenlet; do
    find "$package" -type d -name tests -prune -exec rm -rf {} +
done
find "$venv" -type d -name __pycache__ -prune -exec rm -rf {} +
