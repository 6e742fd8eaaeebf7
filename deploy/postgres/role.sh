# Run once by the database's first start, from /docker-entrypoint-initdb.d: the part's own role, which owns its
# database and nothing else. The superuser stays with the operator.
psql --no-psqlrc --set ON_ERROR_STOP=1 --quiet --username "${POSTGRES_USER:-postgres}" --dbname "$POSTGRES_DB" \
  --set role="$PART_ROLE" --set password="$(cat "$PART_PASSWORD_FILE")" --set database="$POSTGRES_DB" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
ALTER DATABASE :"database" OWNER TO :"role";
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
SQL
