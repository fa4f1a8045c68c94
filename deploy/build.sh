#!/bin/sh
# Builds the images of a site and of the coordinator, without a network, and prints their digests.
#   deploy/build.sh [BASE]        BASE: any image with Python 3.11 and its venv module; see deploy/base.sh
# With docker instead: docker build --network none -f deploy/Containerfile --target client -t silosynth-client .
set -eu
cd "$(dirname "$0")/.."
for target in client coordinator; do
    podman build --quiet --network none --timestamp 0 --file deploy/Containerfile --target "$target" \
        --tag "silosynth-$target" ${1:+--build-arg "BASE=$1"} . > /dev/null
    printf '%s %s\n' "silosynth-$target" "$(podman image inspect --format '{{.Digest}}' "silosynth-$target")"
done
