#!/bin/sh
# Put the drivers with which the producers' guide is tried in Go, Node and Java into a directory below this one, some 3 MB in all, by
# each toolchain's own client. Does nothing for a toolchain that is not installed, nor for drivers that are there. Never fails, and waits
# two minutes at most for each: a test that lacks its driver is skipped.
set -eu
here=$(pwd)/$1
from=$(pwd)/client/tests/programs
PATH=$PATH:/usr/local/go/bin

there() {
    command -v "$1" > /dev/null
}
limited() {
    if there timeout; then timeout 120 "$@"; else "$@"; fi
}
if there go && ! [ -d "$here/go" ]; then
    (cd "$from" && GOTOOLCHAIN=local GOMODCACHE="$here/go" GOFLAGS=-modcacherw limited go mod download) ||
        { rm -rf "$here/go" && echo "The Go modules could not be fetched." >&2; }
fi
if there npm && ! [ -d "$here/node/node_modules" ]; then
    mkdir -p "$here/node"
    cp "$from/package.json" "$from/package-lock.json" "$here/node"
    (cd "$here/node" && limited npm ci --silent --ignore-scripts --no-audit --no-fund) ||
        { rm -rf "$here/node" && echo "The Node packages could not be fetched." >&2; }
fi
# Debian's package is small and needs no list of its own (the name with a version is a link there); else Maven, which fetches its plugin
# too.
if there javac && ! [ -d "$here/java" ] && ! [ -e /usr/share/java/postgresql.jar ]; then
    mkdir -p "$here/java"
    cd "$here/java"
    { there apt-get && there dpkg-deb && limited apt-get -qq -o APT::Sandbox::User="$(id -un)" download libpostgresql-jdbc-java && dpkg-deb --extract ./*.deb . &&
        mv usr/share/java/postgresql.jar . && rm -rf usr ./*.deb; } ||
        { there mvn && rm -rf ./* && limited mvn --quiet --batch-mode dependency:copy -Dartifact=org.postgresql:postgresql:42.7.7 \
            -DoutputDirectory="$here/java"; } ||
        { rm -rf "$here/java" && echo "The JDBC driver could not be fetched." >&2; }
fi
