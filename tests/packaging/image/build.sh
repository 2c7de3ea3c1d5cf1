#!/bin/sh
# Builds an image from the directory that it is called in: tests/packaging/image/build.sh ARGUMENTS of `docker build`.
# From version 23 on docker reaches BuildKit by its plugin buildx alone. Without that plugin the old builder takes the same Dockerfile
# without its mounts: nothing that was fetched is kept for the next build, and no secret can be given.
set -eu
docker=${DOCKER:-docker}
version=$("$docker" version --format '{{.Client.Version}}' 2> /dev/null | cut -d. -f1)
if "$docker" buildx version > /dev/null 2>&1 || [ "${version:-0}" -lt 23 ]; then
    DOCKER_BUILDKIT=1 exec "$docker" build "$@" .
fi
case " $*" in
    *" --secret"* | *" --mount"*)
        echo "$docker has no buildx, so the build takes no secret: install docker's buildx plugin, or name another docker by DOCKER=" >&2
        exit 2
        ;;
esac
echo "$docker has no buildx: building without BuildKit, so nothing that is fetched is kept for the next build." >&2
sed 's/--mount=[^ ]* //g' Dockerfile | DOCKER_BUILDKIT=0 "$docker" build --file - "$@" .
