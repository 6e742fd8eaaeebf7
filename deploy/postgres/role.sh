# Run once by the database's first start, from /docker-entrypoint-initdb.d: the part's own role, which owns its
# database and nothing else, and an auditor, who may read it. The superuser stays with the operator.
psql --no-psqlrc --set ON_ERROR_STOP=1 --quiet --username "${POSTGRES_USER:-postgres}" --dbname "$POSTGRES_DB" \
  --set part="$PART_ROLE" --set part_password="$(cat /run/passwords/part)" \
  --set auditor_password="$(cat /run/passwords/auditor)" --set database="$POSTGRES_DB" <<'SQL'
CREATE ROLE :"part" LOGIN PASSWORD :'part_password';
CREATE ROLE auditor LOGIN PASSWORD :'auditor_password' IN ROLE pg_read_all_data;
ALTER DATABASE :"database" OWNER TO :"part";
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO auditor;
SQL
