#!/usr/bin/env bash
# Makes the cluster on the first start, then becomes the server.
set -euo pipefail

if [ "${1:-}" != postgres ]; then
  exec "$@"
fi

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
    POSTGRES_PASSWORD=$(<"$POSTGRES_PASSWORD_FILE")
  fi
  : "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE}"
  # Made in a folder of its own and moved at the end, PG_VERSION last: a start that was cut short begins anew.
  making=$PGDATA/making
  if [ -d "$making" ]; then
    find "$PGDATA" -mindepth 1 -delete
  fi
  initdb --pgdata "$making" --username "$user" --pwfile <(printf '%s\n' "$POSTGRES_PASSWORD") \
    --auth-local trust --auth-host scram-sha-256 --encoding UTF8 --locale C.UTF-8 >/dev/null
  {
    echo "listen_addresses = '*'"
    echo "unix_socket_directories = '/var/run/postgresql'"
  } >>"$making/postgresql.conf"
  echo 'host all all all scram-sha-256' >>"$making/pg_hba.conf"

  # No network address yet: nobody meets a half-made database.
  pg_ctl --pgdata "$making" --wait --silent --options "-c listen_addresses=''" start >/dev/null
  export PGUSER=$user PGHOST=/var/run/postgresql
  if [ "$database" != postgres ]; then
    createdb "$database"
  fi
  export PGDATABASE=$database
  for script in /docker-entrypoint-initdb.d/*; do
    case $script in
    *.sh)
      # shellcheck source=/dev/null
      . "$script"
      ;;
    *.sql) psql --no-psqlrc --set ON_ERROR_STOP=1 --quiet --file "$script" ;;
    esac
  done
  pg_ctl --pgdata "$making" --wait --silent --mode fast stop >/dev/null
  unset PGUSER PGHOST PGDATABASE
  find "$making" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
  mv "$making/PG_VERSION" "$PGDATA"
  rmdir "$making"
  sync
fi

exec "$@"
