"""Tables of the lookup's store. The migrations create them; a test compares the two.

Instants are BIGINT microseconds since 1970 in UTC: exact, the same on both databases, no session time zone.
Ends of periods and slices are exclusive; ends of serial ranges inclusive.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

metadata = MetaData()

activity = Table(
    "activity",
    metadata,
    Column("activity_key", BigInteger, primary_key=True, autoincrement=False),
    Column("ordinal", BigInteger, nullable=False, unique=True),
    Column("country", Text, nullable=False),
    Column("activity_type", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("create_us", BigInteger, nullable=False),
)

strong_identifier = Table(
    "strong_identifier",
    metadata,
    Column("scheme", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("activity_key", BigInteger, ForeignKey("activity.activity_key"), nullable=False, index=True),
    PrimaryKeyConstraint("scheme", "value"),
)

native_project = Table(
    "native_project",
    metadata,
    Column("registry", Text, nullable=False),
    Column("native_project_id", Text, nullable=False),
    Column("activity_key", BigInteger, ForeignKey("activity.activity_key"), nullable=False),
    Column("country", Text, nullable=False),  # the activity's, so that one look tells all of its standing
    PrimaryKeyConstraint("registry", "native_project_id"),
    Index("native_project_activity", "activity_key", "registry", "country"),
)

review_case = Table(
    "review_case",
    metadata,
    Column("case_id", BigInteger, primary_key=True, autoincrement=False),
    Column("registry", Text, nullable=False),
    Column("native_project_id", Text, nullable=False),
    Column("candidates", Text, nullable=False),  # JSON list of activity keys
    Column("registration", Text, nullable=False),  # JSON of what was asked, so that nothing is lost
    Column("detail", Text, nullable=False),
    Column("create_us", BigInteger, nullable=False),
    # Defaults, so that the release before can go on opening cases.
    Column("state", SmallInteger, nullable=False, server_default="1"),
    Column("question", Text, nullable=False, server_default=""),
    Column("update_us", BigInteger, nullable=False, server_default="0"),
    Column("proposal", Integer),  # number of the decision that waits for a second person
    UniqueConstraint("registry", "native_project_id"),
)

review_candidate = Table(
    "review_candidate",
    metadata,
    Column("case_id", BigInteger, ForeignKey("review_case.case_id"), nullable=False),
    Column("activity_key", BigInteger, nullable=False),
    Column("probability", Double),  # NULL: nothing was measured
    Column("reasons", Text, nullable=False),  # JSON list of texts
    Column("holding", Boolean, nullable=False),  # while the case is open
    PrimaryKeyConstraint("case_id", "activity_key"),
)
# Every grant asks it; it holds the candidates of open cases alone.
Index(
    "review_candidate_holding",
    review_candidate.c.activity_key,
    review_candidate.c.case_id,
    postgresql_where=text("holding"),
    sqlite_where=text("holding"),
)

# What a registry sent to a case, each time that it was something new. Append-only.
review_evidence = Table(
    "review_evidence",
    metadata,
    Column("case_id", BigInteger, ForeignKey("review_case.case_id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("registration", Text, nullable=False),
    Column("candidates", Text, nullable=False),  # JSON list of [activity key, probability, reasons]
    Column("detail", Text, nullable=False),
    Column("create_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("case_id", "number"),
)

# Append-only.
review_decision = Table(
    "review_decision",
    metadata,
    Column("case_id", BigInteger, ForeignKey("review_case.case_id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("activity_key", BigInteger),
    Column("question", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("decider", Text, nullable=False),
    Column("proposed", Boolean, nullable=False),
    Column("create_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("case_id", "number"),
)

# What a person or a split settled: the identifier, which the activity has, says nothing of the project.
told_apart = Table(
    "told_apart",
    metadata,
    Column("registry", Text, nullable=False),
    Column("native_project_id", Text, nullable=False),
    Column("scheme", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("activity_key", BigInteger, ForeignKey("activity.activity_key"), nullable=False, index=True),
    Column("create_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("registry", "native_project_id", "scheme", "value", "activity_key"),
)

# A phase, unit or part of a site: another activity under one it belongs to, never the same.
activity_part = Table(
    "activity_part",
    metadata,
    Column("child_key", BigInteger, ForeignKey("activity.activity_key"), nullable=False),
    Column("parent_key", BigInteger, ForeignKey("activity.activity_key"), nullable=False, index=True),
    Column("case_id", BigInteger, ForeignKey("review_case.case_id"), nullable=False, index=True),
    Column("create_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("child_key", "parent_key"),
)

# What a merge leaves of the other activity: its id answers with the one that survived.
activity_alias = Table(
    "activity_alias",
    metadata,
    Column("alias_key", BigInteger, ForeignKey("activity.activity_key"), primary_key=True, autoincrement=False),
    Column("activity_key", BigInteger, ForeignKey("activity.activity_key"), nullable=False, index=True),
    Column("case_id", BigInteger, ForeignKey("review_case.case_id"), nullable=False),
    Column("create_us", BigInteger, nullable=False),
)

# What moved in a merge, so that it can be told apart again. Append-only.
activity_merge = Table(
    "activity_merge",
    metadata,
    Column("case_id", BigInteger, ForeignKey("review_case.case_id"), nullable=False),
    Column("merged_key", BigInteger, ForeignKey("activity.activity_key"), nullable=False),
    Column("activity_key", BigInteger, ForeignKey("activity.activity_key"), nullable=False),
    Column("moved", Text, nullable=False),  # JSON: projects, identifiers, outcomes, locks, parts
    Column("create_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("case_id", "merged_key", "create_us"),
)

# What was taken off an activity, or is proposed to be.
activity_split = Table(
    "activity_split",
    metadata,
    Column("split_id", BigInteger, primary_key=True, autoincrement=False),
    Column("activity_key", BigInteger, ForeignKey("activity.activity_key"), nullable=False, index=True),
    Column("restored_key", BigInteger, ForeignKey("activity.activity_key")),  # the alias whose merge it undoes
    Column("into_key", BigInteger, ForeignKey("activity.activity_key")),  # NULL: nothing has moved
    Column("state", SmallInteger, nullable=False),
    Column("wish", Text, nullable=False),  # JSON: projects, identifiers, locks that were named
    Column("moved", Text, nullable=False),  # JSON as in activity_merge
    Column("reason", Text, nullable=False),
    Column("proposer", Text, nullable=False),
    Column("confirm_reason", Text, nullable=False),
    Column("confirmer", Text, nullable=False),
    Column("create_us", BigInteger, nullable=False),
    Column("update_us", BigInteger, nullable=False),
)

# Who said that which unit is inside its cap or market. Append-only.
coverage_statement = Table(
    "coverage_statement",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("registry", Text, nullable=False),
    Column("statement_id", Text, nullable=False),
    Column("corrects", Text, nullable=False),  # another statement_id of the registry, known or not; empty: none
    Column("native_project_id", Text, nullable=False),  # its activity is found through native_project
    Column("registration", Text, nullable=False),  # JSON of the unit, as it was told
    Column("inside", Text, nullable=False),  # native id of the registry's unit that it lies inside; empty: none
    Column("boundary", Text, nullable=False),
    Column("sector", Text, nullable=False),
    Column("start_us", BigInteger, nullable=False),
    Column("end_us", BigInteger),  # NULL: no end is known
    Column("withdrawn", Boolean, nullable=False),
    Column("create_us", BigInteger, nullable=False),
    UniqueConstraint("registry", "statement_id"),
    Index("coverage_statement_corrects", "registry", "corrects"),
    Index("coverage_statement_unit", "registry", "native_project_id"),
)

# Which statements count now: neither corrected nor withdrawn. Follows from the statements.
coverage_in_force = Table(
    "coverage_in_force",
    metadata,
    Column("number", BigInteger, ForeignKey("coverage_statement.number"), primary_key=True, autoincrement=False),
)

# What power exchanges settled. Append-only.
settlement_line = Table(
    "settlement_line",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("registry", Text, nullable=False),
    Column("settlement_id", Text, nullable=False),
    Column("corrects", Text, nullable=False),  # another settlement_id of the registry, known or not; empty: none
    Column("native_project_id", Text, nullable=False),  # its activity is found through native_project
    Column("contract", Text, nullable=False),
    Column("start_us", BigInteger, nullable=False),
    Column("end_us", BigInteger, nullable=False),
    Column("energy_kwh", BigInteger, nullable=False),
    Column("buyer_code", Text, nullable=False),
    Column("create_us", BigInteger, nullable=False),
    UniqueConstraint("registry", "settlement_id"),
)

# How each line stands now. Follows from the lines and the ledger.
settlement_standing = Table(
    "settlement_standing",
    metadata,
    Column("number", BigInteger, ForeignKey("settlement_line.number"), primary_key=True, autoincrement=False),
    Column("registry", Text, nullable=False),
    Column("chain", Text, nullable=False),  # shared by all lines of the registry that are linked by correction
    Column("state", SmallInteger, nullable=False),
    Column("look_us", BigInteger, nullable=False),  # when it was looked at last
    Index("settlement_standing_chain", "registry", "chain"),
    Index("settlement_standing_state", "state", "look_us"),
)

# The certificates of a line; where live, they moved by it.
settlement_block = Table(
    "settlement_block",
    metadata,
    Column("number", BigInteger, ForeignKey("settlement_line.number"), nullable=False),
    Column("series", Text, nullable=False),
    Column("series_key", BigInteger, nullable=False),  # as in unit_block
    Column("start_serial", BigInteger, nullable=False),
    Column("end_serial", BigInteger, nullable=False),
    Column("live", Boolean, nullable=False),
    PrimaryKeyConstraint("number", "series_key", "start_serial"),
    Index("settlement_block_of_series", "series_key", "start_serial"),
)
# PostgreSQL: CONSTRAINT settlement_block_exclusion, written in the migration.

outcome = Table(
    "outcome",
    metadata,
    Column("activity_key", BigInteger, ForeignKey("activity.activity_key"), nullable=False),
    Column("base_unit", Text, nullable=False),
    Column("period_start_us", BigInteger, nullable=False),
    Column("period_end_us", BigInteger, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("registry", Text, nullable=False),
    Column("update_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("activity_key", "base_unit", "period_start_us", "period_end_us"),
)

project_description = Table(
    "project_description",
    metadata,
    Column("description_id", BigInteger, primary_key=True, autoincrement=False),
    Column("registry", Text, nullable=False),
    Column("native_project_id", Text, nullable=False),
    Column("document", Text, nullable=False),  # JSON of what is known
    Column("update_us", BigInteger, nullable=False),
    # identity.blocking.FILING of the program that gave its keys; a program of before this column gives 0.
    Column("filing", Integer, nullable=False, server_default="0"),
    UniqueConstraint("registry", "native_project_id"),
)

description_key = Table(
    "description_key",
    metadata,
    Column("number", BigInteger, nullable=False),  # 63 bits of a key of identity.blocking
    Column("description_id", BigInteger, nullable=False, index=True),
    PrimaryKeyConstraint("number", "description_id"),
)

policy_bundle = Table(
    "policy_bundle",
    metadata,
    Column("bundle_id", Integer, primary_key=True, autoincrement=False),
    Column("hash", Text, nullable=False, unique=True),
    Column("version", Text, nullable=False),
)

issuance_lock = Table(
    "issuance_lock",
    metadata,
    Column("lock_id", BigInteger, primary_key=True, autoincrement=False),
    Column("activity_key", BigInteger, nullable=False),  # found through segment, which is indexed by it
    Column("country", Text, nullable=False),
    Column("registry", Text, nullable=False),
    Column("instrument", Text, nullable=False),
    Column("period_start_us", BigInteger, nullable=False),
    Column("period_end_us", BigInteger, nullable=False),
    Column("slice_start", BigInteger, nullable=False),
    Column("slice_end", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expire_us", BigInteger),
    Column("units", BigInteger, nullable=False),
    Column("carried_in", BigInteger, nullable=False),
    Column("reference", Text, nullable=False),
    Column("issued_units", BigInteger, nullable=False),
    Column("issuance_count", Integer, nullable=False),
    Column("supplement", Boolean, nullable=False),
    Column("bundle_id", Integer, nullable=False),
    Column("create_us", BigInteger, nullable=False),
    Column("update_us", BigInteger, nullable=False),
    # State changes rewrite the row in place while its page has room: no index holds a column that changes.
    postgresql_with={"fillfactor": "50"},
)

segment = Table(
    "segment",
    metadata,
    Column("lock_id", BigInteger, nullable=False),
    Column("activity_key", BigInteger, nullable=False),
    Column("attributes", ARRAY(Integer).with_variant(Integer, "sqlite"), nullable=False),  # SQLite: a bit mask
    Column("period_start_us", BigInteger, nullable=False),
    Column("period_end_us", BigInteger, nullable=False),
    Column("slice_start", BigInteger, nullable=False),
    Column("slice_end", BigInteger, nullable=False),
    Column("live", Boolean, nullable=False),
)
# PostgreSQL: CONSTRAINT segment_exclusion, written in the migration (design section 4).
# That index also finds the live segments of an activity, this one those that ended.
Index(
    "segment_ended",
    segment.c.activity_key,
    postgresql_where=text("NOT live"),
    sqlite_where=text("NOT live"),
)
# SQLite: this index serves the same question, asked inside the one writer transaction.
Index("segment_of_activity", segment.c.activity_key, segment.c.period_start_us, info={"dialect": "sqlite"})

issuance = Table(
    "issuance",
    metadata,
    Column("registry", Text, nullable=False),
    Column("native_issuance_id", Text, nullable=False),
    Column("lock_id", BigInteger, nullable=False, index=True),
    Column("token", BigInteger, nullable=False),
    Column("reference", Text, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("commit_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("registry", "native_issuance_id"),
)

unit_block = Table(
    "unit_block",
    metadata,
    Column("lock_id", BigInteger, nullable=False, index=True),
    Column("token", BigInteger, nullable=False),
    Column("registry", Text, nullable=False),
    Column("series", Text, nullable=False),
    # 63 bits of SHA-256 over registry and series: a text key in the exclusion index is four times slower.
    # Two series that share a key could only refuse each other, never overlap.
    Column("series_key", BigInteger, nullable=False),
    Column("start_serial", BigInteger, nullable=False),
    Column("end_serial", BigInteger, nullable=False),
)
# PostgreSQL: CONSTRAINT unit_block_exclusion, written in the migration.
Index("unit_block_of_series", unit_block.c.series_key, unit_block.c.start_serial, info={"dialect": "sqlite"})

# What was taken over from a registry's history, and the lock it stands under.
imported_issuance = Table(
    "imported_issuance",
    metadata,
    Column("registry", Text, nullable=False),
    Column("native_issuance_id", Text, nullable=False),
    Column("native_project_id", Text, nullable=False),
    Column("content", Text, nullable=False),  # SHA-256 of what must be the same for a repeat
    Column("issue_us", BigInteger),  # when the registry issued, where it told
    Column("document", Text),  # JSON of a row that waited for a review
    Column("lock_id", BigInteger),  # NULL: waits for a review of its project
    Column("create_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("registry", "native_issuance_id"),
)
Index(
    "imported_issuance_waiting",
    imported_issuance.c.registry,
    imported_issuance.c.native_project_id,
    postgresql_where=text("lock_id IS NULL"),
    sqlite_where=text("lock_id IS NULL"),
)

dispute = Table(
    "dispute",
    metadata,
    Column("dispute_id", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("activity_key", BigInteger, nullable=False, index=True),
    Column("country", Text, nullable=False),
    Column("period_start_us", BigInteger, nullable=False),
    Column("period_end_us", BigInteger, nullable=False),
    Column("slice_start", BigInteger, nullable=False),
    Column("slice_end", BigInteger, nullable=False),
    Column("standing_lock_id", BigInteger),
    Column("late_lock_id", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
    Column("document", Text),  # JSON of the late row where the ledger could not take it
    Column("bars", Boolean, nullable=False),  # whether it bars grants while it is open
    Column("holding", Boolean, nullable=False),  # whether it does so now
    Column("create_us", BigInteger, nullable=False),
    Column("update_us", BigInteger, nullable=False),
)
# Every grant asks it; it holds open disputes alone.
Index(
    "dispute_holding",
    dispute.c.activity_key,
    postgresql_where=text("holding"),
    sqlite_where=text("holding"),
)

# Append-only.
dispute_decision = Table(
    "dispute_decision",
    metadata,
    Column("dispute_id", BigInteger, ForeignKey("dispute.dispute_id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("outcome", SmallInteger),
    Column("boundary", BigInteger, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("evidence_uri", Text, nullable=False),
    Column("decider", Text, nullable=False),
    Column("create_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("dispute_id", "number"),
)

# Serials that a late issuance has and the ledger has already under another one. Append-only.
disputed_block = Table(
    "disputed_block",
    metadata,
    Column("lock_id", BigInteger, nullable=False, index=True),
    Column("token", BigInteger, nullable=False),
    Column("registry", Text, nullable=False),
    Column("series", Text, nullable=False),
    Column("series_key", BigInteger, nullable=False),
    Column("start_serial", BigInteger, nullable=False),
    Column("end_serial", BigInteger, nullable=False),
)

history_entry = Table(
    "history_entry",
    metadata,
    Column("entry_id", BigInteger, primary_key=True, autoincrement=False),
    Column("tx_id", BigInteger, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("activity_key", BigInteger),
    Column("country", Text, nullable=False),
    Column("registry", Text, nullable=False),
    Column("lock_id", BigInteger),
    Column("token", BigInteger, nullable=False),
    Column("detail", Text),
    Column("create_us", BigInteger, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    # One row per transaction. `position` is given after commit, so that readers never skip a late commit.
    Column("tx_id", BigInteger, primary_key=True, autoincrement=False),
    Column("first_entry", BigInteger, nullable=False),
    Column("last_entry", BigInteger, nullable=False),  # entries of other transactions may lie between
    Column("position", BigInteger, unique=True),
)
Index(
    "outbox_unpositioned",
    outbox.c.tx_id,
    postgresql_where=outbox.c.position.is_(None),
    sqlite_where=outbox.c.position.is_(None),
)

request = Table(
    "request",
    metadata,
    Column("caller", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("payload_hash", LargeBinary, nullable=False),
    Column("answer", LargeBinary),
    Column("create_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("caller", "request_id"),
)

registry_entry = Table(
    "registry_entry",
    metadata,
    Column("code", Text, primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("api_version", Text, nullable=False),
    Column("announce_us", BigInteger, nullable=False),
)
