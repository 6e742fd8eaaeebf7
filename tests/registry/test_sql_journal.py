"""The journal's contract, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from soleclaim.core.activity_id import ActivityKey, make_activity_id
from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.db import migrate as db_migrate
from soleclaim.db.engine import StoreUrlFault, open_engine
from soleclaim.db.migrate import SchemaFault
from soleclaim.registry.domain import (
    MAX_BATCH,
    Declaration,
    Entry,
    Evidence,
    EvidenceKind,
    IssuanceId,
    IssuanceState,
    Order,
    Refusal,
    Request,
    Stage,
)
from soleclaim.registry.journal import JournalFault, Lease, LeaseLost
from soleclaim.registry.sql_journal import MIGRATIONS, SqlJournal, migrate

TTL = timedelta(seconds=30)
MARCH = Period(datetime(2025, 2, 28, 16, tzinfo=UTC), datetime(2025, 3, 31, 16, tzinfo=UTC))
APRIL = Period(MARCH.end, datetime(2025, 4, 30, 16, tzinfo=UTC))
ACTIVITY = make_activity_id("CN", ActivityKey(1))
DECLARED = Declaration(no_other_application=True, document_uri="https://例.example/声明")


def a_request(*, size: int = 1, request_id: str = "request-1", caller: str = "registry/gec", units: int = 0) -> Request:
    orders = tuple(Order(f"项目{index}", MARCH if index % 2 == 0 else APRIL, units, DECLARED) for index in range(size))
    return Request(caller, request_id, orders)


@pytest.fixture
def url(store_url: str) -> str:
    migrate(store_url)
    return store_url


@pytest.fixture
async def new_journal(url: str) -> AsyncIterator[Callable[..., SqlJournal]]:
    opened: list[SqlJournal] = []

    def new(registry: str = "gec") -> SqlJournal:
        opened.append(SqlJournal(url, registry))
        return opened[-1]

    yield new
    for journal in opened:
        await journal.close()


@pytest.fixture
def journal(new_journal: Callable[..., SqlJournal]) -> SqlJournal:
    return new_journal()


@pytest.fixture
async def lease(journal: SqlJournal) -> Lease:
    taken = await journal.take_lease("me", TTL)
    assert taken is not None
    return taken


async def accepted(journal: SqlJournal, lease: Lease, request: Request) -> list[Entry]:
    return await journal.read_batch((await journal.accept(lease, request)).batch_id)


# -- Requests --------------------------------------------------------------------------------------------------------


async def test_an_accepted_request_is_read_as_it_was_asked(journal: SqlJournal, lease: Lease) -> None:
    entries = await accepted(journal, lease, a_request(size=3, units=7))
    assert [entry.native_project_id for entry in entries] == ["项目0", "项目1", "项目2"]
    assert [(entry.period, entry.units, entry.declaration) for entry in entries[:2]] == [
        (MARCH, 7, DECLARED),
        (APRIL, 7, DECLARED),
    ]
    assert {(entry.stage, entry.version, entry.state) for entry in entries} == {
        (Stage.ACCEPTED, 1, IssuanceState.PENDING)
    }
    assert len({entry.reference for entry in entries}) == 3
    assert all(entry.reference.startswith("gec-") and len(entry.reference) <= 64 for entry in entries)
    assert abs(entries[0].create_time - datetime.now(UTC)) < timedelta(minutes=1)


async def test_the_same_request_is_one_batch_also_when_repeats_race(
    new_journal: Callable[..., SqlJournal], journal: SqlJournal, lease: Lease
) -> None:
    journals = [journal, new_journal()]
    batches = await asyncio.gather(*(each.accept(lease, a_request(size=5)) for each in journals * 8))
    assert len({each.batch_id for each in batches}) == 1
    assert [each.is_new for each in batches].count(True) == 1
    assert len(await journal.read_batch(batches[0].batch_id)) == 5


@pytest.mark.parametrize("other", [a_request(units=1), a_request(size=2)])
async def test_a_request_id_with_other_content_is_refused(journal: SqlJournal, lease: Lease, other: Request) -> None:
    await journal.accept(lease, a_request())
    with pytest.raises(DomainError) as refused:
        await journal.accept(lease, other)
    assert refused.value.reason is Reason.REQUEST_ID_REUSED


def test_the_hash_of_a_request_is_the_same_in_every_release() -> None:
    """Repeats come across an upgrade."""
    assert a_request().payload_hash == "c9174879b3c39526d523051c56d3b4fd75f974e75726402d3e2c66034b9f9aac"


async def test_callers_cannot_disturb_each_other_with_request_ids(journal: SqlJournal, lease: Lease) -> None:
    first = await journal.accept(lease, a_request())
    assert await journal.accept(lease, a_request(caller="operator/desk", units=1)) != first


async def test_a_batch_of_the_greatest_size_is_accepted_and_recorded(journal: SqlJournal, lease: Lease) -> None:
    entries = await accepted(journal, lease, a_request(size=MAX_BATCH))
    recorded = await journal.record(lease, [replace(entry, stage=Stage.HELD) for entry in entries], "all at once")
    assert len(recorded) == MAX_BATCH
    assert recorded == await journal.read_batch(entries[0].batch_id)


# -- Changes ---------------------------------------------------------------------------------------------------------


async def test_everything_recorded_is_read_back(journal: SqlJournal, lease: Lease) -> None:
    (entry,) = await accepted(journal, lease, a_request())
    now = await journal.now()
    changed = replace(
        entry,
        stage=Stage.ABSENT,
        units=10**15,
        activity=ACTIVITY,
        carried_in=999,
        lock="issuanceLocks/9",
        fencing_token=2**62,
        supplement=True,
        native_issuance_id="绿证-1",
        blocks=(UnitBlock("系列'\"", 0, 2**63 - 2), UnitBlock("b", 5, 5)),
        refusal=Refusal.of(Reason.NATIVE_REGISTRY_REFUSED, code="E1", detail="不符 :x \\"),
        evidence=Evidence(EvidenceKind.NATIVE_REFUSED, "拒绝"),
        begin_time=now,
        absent_after=now + timedelta(microseconds=1),
        not_found_time=now,
        attempts=3,
        next_try_time=now + timedelta(hours=1),
    )
    (recorded,) = await journal.record(lease, [changed], "native registry called")
    assert recorded == replace(changed, version=2, update_time=recorded.update_time)
    assert await journal.read(entry.issuance_id) == recorded


async def test_a_change_of_an_entry_that_changed_since_is_refused_whole(journal: SqlJournal, lease: Lease) -> None:
    first, second = await accepted(journal, lease, a_request(size=2))
    await journal.record(lease, [replace(first, stage=Stage.IDENTIFIED)], "one")
    stale = [replace(second, stage=Stage.IDENTIFIED), replace(first, stage=Stage.REFUSED)]
    with pytest.raises(JournalFault):
        await journal.record(lease, stale, "two")
    assert [entry.stage for entry in await journal.read_batch(first.batch_id)] == [Stage.IDENTIFIED, Stage.ACCEPTED]


async def test_the_history_tells_every_change_and_cannot_be_changed(
    journal: SqlJournal, lease: Lease, url: str
) -> None:
    (entry,) = await accepted(journal, lease, a_request())
    await journal.record(lease, [replace(entry, stage=Stage.IDENTIFIED)], "identity asked")
    rows = await journal.history(entry.issuance_id)
    assert [(row.version, row.stage, row.epoch, row.detail) for row in rows] == [
        (1, Stage.ACCEPTED, lease.epoch, "request journalled"),
        (2, Stage.IDENTIFIED, lease.epoch, "identity asked"),
    ]
    engine = open_engine(url)
    for statement in ("UPDATE issuance_history SET detail = 'x'", "DELETE FROM issuance_history"):
        with pytest.raises(DBAPIError, match="append-only"):
            async with engine.begin() as connection:
                await connection.execute(sa.text(statement))
    await engine.dispose()


async def test_to_put_off_is_no_history_and_keeps_to_version_and_lease(journal: SqlJournal, lease: Lease) -> None:
    (entry,) = await accepted(journal, lease, a_request())
    later = replace(entry, attempts=1, next_try_time=entry.create_time + timedelta(hours=1))
    (stored,) = await journal.put_off(lease, [later])
    assert await journal.read(entry.issuance_id) == stored
    assert (stored.version, stored.attempts, stored.next_try_time) == (2, 1, later.next_try_time)
    assert [row.version for row in await journal.history(entry.issuance_id)] == [1]
    with pytest.raises(JournalFault):
        await journal.put_off(lease, [later])
    await journal.release_lease(lease)
    with pytest.raises(LeaseLost):
        await journal.put_off(lease, [replace(stored, attempts=2)])


# -- Lease -----------------------------------------------------------------------------------------------------------


async def test_one_of_many_takes_the_lease(new_journal: Callable[..., SqlJournal]) -> None:
    journals = [new_journal() for _ in range(4)]
    taken = await asyncio.gather(*(each.take_lease(f"p{n}", TTL) for n, each in enumerate(journals)))
    assert sum(each is not None for each in taken) == 1


async def test_who_lost_the_lease_can_write_nothing(journal: SqlJournal) -> None:
    old = await journal.take_lease("old", timedelta(milliseconds=400))
    assert old is not None
    (entry,) = await accepted(journal, old, a_request())
    await asyncio.sleep(0.41)
    new = await journal.take_lease("new", TTL)
    assert new is not None
    assert new.epoch == old.epoch + 1
    # As a process that was stopped and does not know: its own reckoning still says that all is well.
    for attempt in (
        lambda: journal.accept(old, a_request(request_id="request-2")),
        lambda: journal.record(old, [replace(entry, stage=Stage.HELD)], "late"),
        lambda: journal.renew_lease(old, TTL),
    ):
        old.valid_until_s = float("inf")
        with pytest.raises(LeaseLost):
            await attempt()
        assert old.valid_until_s == 0.0, "a task under way, which holds the same lease, must not call natively"
    assert await journal.read_batch(entry.batch_id) == [entry]
    await journal.release_lease(old)
    assert await journal.take_lease("third", TTL) is None


async def test_an_ended_lease_writes_nothing_even_if_nobody_took_it(journal: SqlJournal) -> None:
    lease = await journal.take_lease("me", timedelta(milliseconds=10))
    assert lease is not None
    await asyncio.sleep(0.02)
    with pytest.raises(LeaseLost):
        lease.check()
    lease.valid_until_s = float("inf")
    with pytest.raises(LeaseLost):
        await journal.accept(lease, a_request())


async def test_a_released_lease_is_free_at_once(journal: SqlJournal, lease: Lease) -> None:
    await journal.release_lease(lease)
    assert await journal.take_lease("twin", TTL) is not None


async def test_a_journal_serves_one_registry_for_ever(
    journal: SqlJournal, lease: Lease, new_journal: Callable[..., SqlJournal]
) -> None:
    await journal.release_lease(lease)
    with pytest.raises(JournalFault, match="belongs to registry gec"):
        await new_journal("ccer").take_lease("me", TTL)


# -- Reads -----------------------------------------------------------------------------------------------------------


async def test_lists_are_in_order_and_keep_to_all_conditions(journal: SqlJournal, lease: Lease) -> None:
    entries = await accepted(journal, lease, a_request(size=4))
    await journal.record(lease, [replace(entries[0], stage=Stage.ISSUED, activity=ACTIVITY)], "made")
    await journal.record(lease, [replace(entries[1], stage=Stage.UNKNOWN, activity=ACTIVITY)], "doubt")

    async def listed(**conditions: Any) -> list[int]:
        found = await journal.list_entries(**{"after": IssuanceId(0), "limit": 10} | conditions)
        return [entry.issuance_id % MAX_BATCH for entry in found]

    assert await listed() == [0, 1, 2, 3]
    assert await listed(after=entries[1].issuance_id, limit=1) == [2]
    assert await listed(activity=ACTIVITY) == [0, 1]
    assert await listed(activity=ACTIVITY, period=MARCH) == [0]
    assert await listed(period=APRIL) == [1, 3]
    assert await listed(states=frozenset({IssuanceState.IN_DOUBT})) == [1]
    assert await listed(states=frozenset({IssuanceState.PENDING})) == [2, 3]


async def test_entries_are_found_by_activity_or_project(journal: SqlJournal, lease: Lease) -> None:
    entries = await accepted(journal, lease, a_request(size=5))
    issued = [replace(entry, stage=Stage.ISSUED, activity=ACTIVITY) for entry in entries[:2]]
    first, second = await journal.record(lease, issued, "commit done")
    told = {IssuanceState.ISSUED, IssuanceState.PENDING}

    async def found(*projects: str, **changed: Any) -> list[Entry]:
        wanted: dict[str, Any] = {"activities": {ACTIVITY}, "period": MARCH, "states": told, "limit": 10} | changed
        return await journal.find_entries(native_project_ids=set(projects), **wanted)

    assert await found() == [first]
    assert await found("项目2", "项目3") == [first, entries[2]]
    assert await found("项目0", "项目2", activities=set()) == [first, entries[2]]
    assert await found("项目2", limit=1) == await found("项目2", states={IssuanceState.ISSUED}) == [first]
    assert await found("项目3", period=APRIL) == [second, entries[3]]
    assert await found(activities=set()) == []


async def test_due_are_the_unfinished_whose_time_has_come(journal: SqlJournal, lease: Lease) -> None:
    first = await accepted(journal, lease, a_request(size=2))
    second = await accepted(journal, lease, a_request(request_id="request-2"))
    assert await journal.due(10) == [first[0].batch_id, second[0].batch_id]
    later = await journal.now() + timedelta(minutes=1)
    await journal.record(lease, [replace(first[0], next_try_time=later), replace(first[1], stage=Stage.ISSUED)], "x")
    assert await journal.due(10) == [second[0].batch_id]


async def test_a_new_holder_tries_at_once_what_was_put_off(journal: SqlJournal, lease: Lease) -> None:
    (entry,) = await accepted(journal, lease, a_request())
    later = await journal.now() + timedelta(hours=1)
    await journal.record(lease, [replace(entry, stage=Stage.UNKNOWN, next_try_time=later)], "put off")
    assert await journal.due(10) == []
    await journal.release_lease(lease)
    assert await journal.take_lease("twin", TTL) is not None
    assert await journal.due(10) == [entry.batch_id]


async def test_doubt_is_counted_from_its_begin(journal: SqlJournal, lease: Lease) -> None:
    assert (await journal.in_doubt()).count == 0
    entries = await accepted(journal, lease, a_request(size=2))
    ago = await journal.now() - timedelta(hours=1)
    await journal.record(lease, [replace(each, stage=Stage.UNKNOWN, begin_time=ago) for each in entries], "doubt")
    doubt = await journal.in_doubt()
    assert doubt.count == 2
    assert timedelta(minutes=59) < doubt.oldest_age < timedelta(minutes=61)


async def test_what_waits_for_a_review_is_counted_and_comes_last(journal: SqlJournal, lease: Lease) -> None:
    waiting = await accepted(journal, lease, a_request(size=2))
    (doubtful,) = await accepted(journal, lease, a_request(request_id="request-2"))
    refusal = Refusal.of(Reason.IDENTITY_UNDER_REVIEW, native_project_id="项目0", case="7")
    long_ago = await journal.now() - timedelta(days=1)
    held_up = [
        replace(each, stage=Stage.UNDER_REVIEW, refusal=refusal, waits=1, next_try_time=long_ago) for each in waiting
    ]
    recorded = await journal.record(lease, held_up, "identity asked")
    await journal.record(lease, [replace(doubtful, stage=Stage.UNKNOWN)], "doubt")
    assert await journal.read_batch(waiting[0].batch_id) == recorded
    assert await journal.under_review() == 2
    assert await journal.due(10) == [doubtful.batch_id, waiting[0].batch_id]
    reviewed = frozenset({IssuanceState.UNDER_REVIEW})
    assert await journal.list_entries(after=IssuanceId(0), limit=9, states=reviewed) == recorded


# -- Schema ----------------------------------------------------------------------------------------------------------


async def test_a_server_refuses_a_schema_it_does_not_know(store_url: str) -> None:
    journal = SqlJournal(store_url, "gec")
    with pytest.raises(SchemaFault, match="soleclaim migrate --store journal"):
        await journal.require_schema()
    migrate(store_url)
    await journal.require_schema()
    await journal.close()


def test_migrations_go_up_agree_with_the_tables_go_down_and_up_again(store_url: str) -> None:
    migrate(store_url)
    migrate(store_url)
    db_migrate.check(store_url, MIGRATIONS)
    db_migrate.downgrade(store_url, MIGRATIONS, revision="base")
    migrate(store_url)


async def test_of_what_the_release_before_accepted_the_settled_units_stand_for_those_asked_for(store_url: str) -> None:
    migrate(store_url)
    journal = SqlJournal(store_url, "gec")
    try:
        lease = await journal.take_lease("me", TTL)
        assert lease is not None
        (entry,) = await accepted(journal, lease, a_request(units=0))
        (measured,) = await journal.record(lease, [replace(entry, stage=Stage.MEASURED, units=6)], "outcome recorded")
        assert (await journal.read(entry.issuance_id), measured.ordered_units) == (measured, 0)
    finally:
        await journal.close()
    db_migrate.downgrade(store_url, MIGRATIONS, revision="journal_0002")
    migrate(store_url)
    journal = SqlJournal(store_url, "gec")
    try:
        assert await journal.read(entry.issuance_id) == replace(measured, ordered_units=6)
    finally:
        await journal.close()


async def test_a_journal_of_the_release_before_keeps_all_it_holds(store_url: str) -> None:
    """The table is made anew on SQLite: its rows, its history, and what guards the history, must be there after it."""
    migrate(store_url)
    journal = SqlJournal(store_url, "gec")
    lease = await journal.take_lease("me", TTL)
    assert lease is not None
    first, second = await accepted(journal, lease, a_request(size=2))
    refusal = Refusal.of(Reason.IDENTITY_UNDER_REVIEW, native_project_id="项目0", case="7")
    waiting = replace(first, stage=Stage.UNDER_REVIEW, refusal=refusal, waits=1)
    (waiting,) = await journal.record(lease, [waiting], "identity asked")
    history = await journal.history(first.issuance_id)
    await journal.close()

    db_migrate.downgrade(store_url, MIGRATIONS, revision="journal_0001")
    migrate(store_url)

    db_migrate.check(store_url, MIGRATIONS)
    journal = SqlJournal(store_url, "gec")
    try:
        # The release before does not know the wait: it asks again.
        asks_again = replace(waiting, stage=Stage.ACCEPTED, refusal=None, waits=0)
        assert await journal.read_batch(first.batch_id) == [asks_again, second]
        assert await journal.history(first.issuance_id) == history
        await journal.record(lease, [replace(second, stage=Stage.UNDER_REVIEW)], "identity asked")
    finally:
        await journal.close()
    engine = open_engine(store_url)
    for statement in ("DELETE FROM issuance_history", "DELETE FROM issuance"):
        async with engine.connect() as connection:
            with pytest.raises(DBAPIError, match=r"append-only|FOREIGN KEY|foreign key"):
                await connection.execute(sa.text(statement))
    await engine.dispose()


@pytest.mark.parametrize("url", ["nonsense", "postgresql://u:secret@h/d", "sqlite+aiosqlite://", "sqlite:///x"])
def test_a_database_url_of_another_form_is_refused_without_telling_its_password(url: str) -> None:
    with pytest.raises(StoreUrlFault) as fault:
        open_engine(url)
    assert "secret" not in str(fault.value)
