#!/bin/sh
# A base image from Debian's packages, for those who may not, or need not, pull one from a registry. Needs mmdebstrap.
#   deploy/base.sh [TAG]        default: silosynth-base:bookworm
set -eu
export SOURCE_DATE_EPOCH=0
mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' bookworm - | podman import --quiet - "${1:-silosynth-base:bookworm}"
