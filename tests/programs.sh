#!/bin/sh
# Put Prometheus and promtool into a directory, for the tests of the alerts: nothing where they are installed, else
# Debian's or Ubuntu's package, fetched by apt with lists of its own and unpacked. Needs no root, installs nothing.
set -eu
dir=$1

if command -v prometheus > /dev/null && command -v promtool > /dev/null; then
    exit 0
fi
if ! command -v apt-get > /dev/null || ! command -v dpkg-deb > /dev/null; then
    echo "Prometheus is not installed, and there is no apt to fetch it: the tests that need it are skipped." >&2
    exit 0
fi
mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
here=$(cd "$dir" && pwd)
fetch() {
    apt-get -qq -o "Dir::State::Lists=$here/lists" -o "Dir::Cache=$here/cache" -o APT::Sandbox::User="$(id -un)" \
        -o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 "$@"
}
if (cd "$here" && fetch update && fetch download prometheus); then
    dpkg-deb --extract "$here"/prometheus_*.deb "$here"
else
    echo "Prometheus could not be fetched: the tests that need it are skipped." >&2
fi
rm -rf "$here/lists" "$here/cache" "$here"/prometheus_*.deb
