from soleclaim.db.migrate import run
from soleclaim.lookup.store.schema import metadata

run(metadata)
