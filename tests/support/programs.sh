#!/bin/sh
# Put what the suite needs and pip does not have into a directory below this one: Prometheus with promtool, PgBouncer, a registry of
# images and charts and, if CI is set, Chromium. Does nothing for what is installed; else takes the packages of Debian or Ubuntu, fetched by
# apt with lists of its own and unpacked. Needs no root, installs nothing.
set -eu
here=$(pwd)/$1
PATH=$PATH:/usr/sbin:$here/usr/bin:$here/usr/sbin

there() {
    command -v "$1" > /dev/null
}
lacking=
{ there prometheus && there promtool; } || lacking=prometheus
there pgbouncer || lacking="$lacking pgbouncer"
there docker-registry || lacking="$lacking docker-registry"
# The largest by far: fetched only where its absence fails the tests, as all of these do where CI is set.
if ! there chromium && ! there google-chrome && ! [ -x "$here/usr/lib/chromium/chromium" ]; then
    if [ -n "${CI:-}" ]; then
        lacking="$lacking chromium"
    else
        echo "Not installed, so the console is not tested in a browser: chromium (apt-get install chromium)." >&2
    fi
fi
if [ -z "$lacking" ]; then
    exit 0
fi
if ! there apt-get || ! there dpkg-deb; then
    echo "Not installed, and there is no apt to fetch it, so tests are skipped: $lacking." >&2
    exit 0
fi
mkdir -p "$here/lists/partial" "$here/cache/archives/partial"
fetch() {
    apt-get -qq -o "Dir::State::Lists=$here/lists" -o "Dir::Cache=$here/cache" -o APT::Sandbox::User="$(id -un)" \
        -o Debug::NoLocking=true -o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 "$@"
}
cd "$here"
fetch update || true
for package in $lacking; do
    case $package in
        # Alone: they need the C library, and what else they depend on is for web pages and for a service.
        prometheus | docker-registry) fetch download "$package" || true ;;
        # With the libraries that are not installed.
        pgbouncer | chromium) fetch install --download-only --no-install-recommends --yes "$package" || true ;;
    esac
done
for archive in "$here"/*.deb "$here"/cache/archives/*.deb; do
    if [ -e "$archive" ]; then
        dpkg-deb --extract "$archive" "$here"
    fi
done
for package in $lacking; do
    there "$package" || [ -x "$here/usr/lib/$package/$package" ] || echo "It could not be fetched, so tests are skipped: $package." >&2
done
rm -rf "$here/lists" "$here/cache" "$here"/*.deb
