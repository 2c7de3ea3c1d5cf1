#!/bin/sh
# Makes a base for the image from Debian's packages, for places that reach a Debian mirror and no image registry:
# tests/packaging/image/base.sh TAG [SUITE [MIRROR]]. Needs root, debootstrap and docker.
set -eu
tag=$1
suite=${2:-bookworm}
docker=${DOCKER:-docker}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$suite" "$root" ${3:+"$3"}
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
tar -C "$root" -c . | "$docker" import - "$tag"
