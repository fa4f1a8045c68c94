#!/bin/sh
# Fills deploy/wheels with what deploy/requirements.txt locks: the only step towards an image that uses a network.
#   deploy/wheels.sh
# Torch's CPU build is not on the usual index: PyTorch's installation page names its own; tell pip by its environment
# variables or its configuration. For a site without internet, copy the folder: hashes are checked again in the build.
set -eu
cd "$(dirname "$0")/.."
python3 -m pip download --quiet --dest deploy/wheels --require-hashes --only-binary :all: --no-deps \
    --python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 \
    --platform manylinux2014_x86_64 --platform manylinux_2_12_x86_64 --platform manylinux2010_x86_64 \
    --platform manylinux_2_5_x86_64 --platform manylinux1_x86_64 --platform any \
    --requirement deploy/requirements.txt
