#!/bin/sh
# Builds the images of a site and of the coordinator, without a network, and prints their digests.
#   deploy/build.sh [BASE]        BASE: any image with Python 3.11 and its venv module; see deploy/base.sh
# Digests are the same for everybody with podman (or buildah); docker keeps times of its own, and so has others.
set -eu
cd "$(dirname "$0")/.."
if command -v podman > /dev/null; then
    set -- "${1:-}" podman --timestamp 0
else
    set -- "${1:-}" docker
fi
base=$1 engine=$2
shift 2
for target in client coordinator; do
    "$engine" build --quiet --network none "$@" --file deploy/Containerfile --target "$target" \
        --tag "silosynth-$target" ${base:+--build-arg "BASE=$base"} . > /dev/null
    printf '%s %s\n' "silosynth-$target" \
        "$("$engine" image inspect --format '{{if .Digest}}{{.Digest}}{{else}}{{.Id}}{{end}}' "silosynth-$target" 2> /dev/null ||
            "$engine" image inspect --format '{{.Id}}' "silosynth-$target")"
done
