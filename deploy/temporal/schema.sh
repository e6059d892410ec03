#!/bin/sh
# Makes Temporal's two databases, or brings them up to the version of this image. Runs before every start of the
# server; does nothing where nothing is to do. The password is in SQL_PASSWORD, which the tool reads itself.
set -eu
: "${POSTGRES_HOST:?}" "${POSTGRES_USER:?}" "${SQL_PASSWORD:?}"

sql() {
    temporal-sql-tool --plugin postgres12 --endpoint "$POSTGRES_HOST" --port 5432 --user "$POSTGRES_USER" "$@"
}

bring_up() { # database, directory of its schema
    sql --database "$1" create-database
    sql --database "$1" setup-schema --version 0.0
    sql --database "$1" update-schema --schema-dir "/etc/temporal/schema/postgresql/v12/$2/versioned"
}

bring_up temporal temporal
bring_up temporal_visibility visibility
