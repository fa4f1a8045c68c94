#!/bin/sh
# Writes a CycloneDX bill of materials of what the images install: every package, its version and its licence.
#   deploy/sbom.sh [FILE]        default: silosynth.cdx.json; needs cyclonedx-py (the package cyclonedx-bom)
# From an environment made of deploy/wheels alone, without a network, so it says what an image has and nothing else.
set -eu
out=$(realpath -m "${1:-silosynth.cdx.json}")
cd "$(dirname "$0")/.."
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
python3 -m venv --without-pip "$made"
python3 -m pip --python "$made/bin/python" install --quiet --no-compile --no-index -f deploy/wheels \
    --require-hashes --no-deps --requirement deploy/requirements.txt
cyclonedx-py environment "$made/bin/python" --pyproject pyproject.toml --mc-type application --output-reproducible \
    --spec-version 1.6 --output-file "$out"
