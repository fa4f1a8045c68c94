#!/bin/sh
# Takes out of an image's environment what running never needs: installers, headers, tests, bytecode of the build.
#   slim.sh VENV
set -eu
venv=$1
cd "$venv"/lib/python3.*/site-packages

# Nothing in an image installs anything, and nothing of Flower's own programs is started: uv comes with flwr, which
# would run it to install what it is sent.
rm -rf pip pip-*.dist-info
find "$venv/bin" -type f ! -name silosynth -delete # Python itself is a link

rm -rf torch/test torch/include torch/share/cmake pyarrow/include pyarrow/src
find torch/bin -type f ! -name torch_shm_manager -delete # torch does not import without that one
for package in joblib networkx numpy pandas pyarrow scipy sklearn sympy greenlet; do
    find "$package" -type d -name tests -prune -exec rm -rf {} +
done
# Rows are files: no object stores, no remote calls. (warm.py imports all programs: too much taken fails the build.)
rm -f pyarrow/*flight* pyarrow/*s3*

find "$venv" -type d -name __pycache__ -prune -exec rm -rf {} +
