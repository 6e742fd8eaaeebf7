"""History and the event stream: written with the change, in order, nothing skipped (I9), on both stores."""

import asyncio
from dataclasses import replace

import pytest

from soleclaim.core.errors import DomainError, Reason
from soleclaim.lookup.domain import Event, EventKind, Lock
from soleclaim.policy.bundle import default_bundle
from tests.lookup.conftest import Bench, ref


def place(event: Event) -> tuple[int, int]:
    return event.position, event.entry


async def test_every_change_of_a_lock_leaves_its_entry(bench: Bench) -> None:
    lock = await bench.issued(bench.claim(bench.key()))
    supplement = await bench.supplemented(lock)
    await bench.release(ref(supplement))
    again = await bench.supplemented(lock)
    await bench.begin(ref(again))
    await bench.abort(bench.abortion(again))
    events = await bench.events()
    assert [(each.kind, each.token) for each in events] == [
        (EventKind.LOCK_GRANTED, lock.token),
        (EventKind.ISSUANCE_BEGUN, lock.token),
        (EventKind.ISSUANCE_COMMITTED, lock.token),
        (EventKind.SUPPLEMENT_GRANTED, supplement.token),
        (EventKind.LOCK_RELEASED, supplement.token),
        (EventKind.SUPPLEMENT_GRANTED, again.token),
        (EventKind.ISSUANCE_BEGUN, again.token),
        (EventKind.ISSUANCE_ABORTED, again.token),
    ]
    assert {(each.lock_id, each.activity_key, each.registry, each.country) for each in events} == {
        (lock.lock_id, lock.activity_key, "ccer", "CN")
    }
    assert [each.create_time for each in events] == sorted(each.create_time for each in events)


async def test_history_stands_and_falls_with_its_transaction(bench: Bench) -> None:
    async def fail() -> None:
        async with bench.store.transaction() as transaction:
            await transaction.add_activities([(bench.key(), bench.project())])
            await transaction.grant([bench.claim(bench.key())])
            raise DomainError(Reason.LOCK_UNKNOWN, lock="x")

    with pytest.raises(DomainError, match="LOCK_UNKNOWN"):
        await fail()
    assert await bench.events() == []
    for table in ("history_entry", "outbox", "issuance_lock", "segment", "activity", "request"):
        assert await bench.sql(f"SELECT * FROM {table}") == [], table  # noqa: S608


async def test_entries_of_one_transaction_share_a_position(bench: Bench) -> None:
    await bench.grant(*(bench.claim(bench.key()) for _ in range(3)))
    await bench.held(bench.claim(bench.key()))
    events = await bench.events()
    positions = [each.position for each in events]
    assert positions[0] == positions[1] == positions[2] < positions[3]
    assert [place(each) for each in events] == sorted(place(each) for each in events)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_the_stream_resumes_where_it_stopped(bench: Bench, limit: int) -> None:
    for size in (1, 4, 2, 1):
        await bench.grant(*(bench.claim(bench.key()) for _ in range(size)))
    everything = await bench.events()
    assert len(everything) == 8
    found: list[Event] = []
    after = (0, 0)
    while page := await bench.events(after, limit):
        assert len(page) <= limit
        found += page
        after = place(page[-1])
    assert found == everything


async def test_the_stream_tells_the_same_again(bench: Bench) -> None:
    await bench.issued(bench.claim(bench.key()))
    first = await bench.events()
    await bench.held(bench.claim(bench.key()))
    assert (await bench.events())[: len(first)] == first
    assert (await (await bench.another()).events())[: len(first)] == first


async def test_a_transaction_that_commits_late_is_not_skipped(bench: Bench) -> None:
    """It drew its numbers first and commits last; a reader that went on meanwhile still meets it."""
    if bench.kind == "sqlite":
        pytest.skip("SQLite has one writer: none commits late")
    async with bench.store.transaction() as late:
        [slow] = await late.grant([bench.claim(bench.key())])
        quick = await bench.held(bench.claim(bench.key()))
        [seen] = await bench.events()
        assert seen.lock_id == quick.lock_id
        assert await bench.events(place(seen)) == []
    assert isinstance(slow, Lock)
    [found] = await bench.events(place(seen))
    assert found.lock_id == slow.lock_id
    assert found.entry < seen.entry, "this is why numbers alone cannot be the order of the stream"
    assert [each.lock_id for each in await bench.events()] == [quick.lock_id, slow.lock_id]


async def test_the_stream_keeps_the_order_per_activity_over_interleaved_transactions(bench: Bench) -> None:
    """One transaction writes of X early and of A late; another, in between, wrote of A and committed first."""
    if bench.kind == "sqlite":
        pytest.skip("SQLite has one writer")
    a, x = bench.key(), bench.key()
    held = await bench.held(bench.claim(a))
    other = await bench.another()
    async with other.store.transaction() as long:
        await long.grant([bench.claim(x)])
        await bench.release(ref(held))
        [granted] = await long.grant([bench.claim(a)])
        assert isinstance(granted, Lock)
    of_a = [(each.kind, each.lock_id) for each in await bench.events() if each.activity_key == a]
    assert of_a == [
        (EventKind.LOCK_GRANTED, held.lock_id),
        (EventKind.LOCK_RELEASED, held.lock_id),
        (EventKind.LOCK_GRANTED, granted.lock_id),
    ]


async def test_readers_that_race_agree_on_the_order(bench: Bench) -> None:
    other = await bench.another()

    async def write(at: Bench) -> None:
        for _ in range(5):
            await at.grant(*(at.claim(at.key()) for _ in range(2)))

    async def read(at: Bench) -> list[Event]:
        found: list[Event] = []
        after = (0, 0)
        while len(found) < 20:
            page = await at.events(after, 3)
            found += page
            after = place(page[-1]) if page else after
            await asyncio.sleep(0)
        return found

    _, _, first, second = await asyncio.gather(write(bench), write(other), read(bench), read(other))
    assert first == second == await bench.events()


async def test_an_activity_that_ten_stores_fight_over_has_rising_tokens_in_the_stream(bench: Bench) -> None:
    key = bench.key()
    stores = [bench, await bench.another(), await bench.another()]

    async def fight(at: Bench) -> None:
        for _ in range(6):
            [answer] = await at.grant(at.claim(key))
            if isinstance(answer, Lock):
                await at.release(ref(answer))

    await asyncio.gather(*(fight(each) for each in stores))
    events = await bench.events()
    granted = [each.token for each in events if each.kind is EventKind.LOCK_GRANTED]
    assert granted == sorted(set(granted))
    assert granted
    kinds = [each.kind for each in events]
    assert kinds == [EventKind.LOCK_GRANTED, EventKind.LOCK_RELEASED] * len(granted)


async def test_locks_name_the_bundle_of_their_grant_after_the_bundle_changed(bench: Bench) -> None:
    before = await bench.held(bench.claim(bench.key()))
    newer = await bench.another(replace(default_bundle(), hash="f" * 64, version="2027-01"))
    after = await newer.held(newer.claim(bench.key()))
    assert (before.policy_hash, after.policy_hash) == (default_bundle().hash, "f" * 64)
    assert (await newer.lock(before)).policy_hash == default_bundle().hash
    assert len(await bench.sql("SELECT * FROM policy_bundle")) == 2


async def test_a_store_opened_before_a_newer_bundle_can_name_it(bench: Bench) -> None:
    """Two releases serve side by side for a while."""
    newer = await bench.another(replace(default_bundle(), hash="f" * 64))
    lock = await newer.held(newer.claim(bench.key()))
    assert (await bench.lock(lock)).policy_hash == "f" * 64
    assert {each.policy_hash for each in await bench.locks()} == {"f" * 64}
    begun = bench.done(await bench.begin(ref(lock)))
    assert begun.policy_hash == "f" * 64


async def test_a_bundle_is_known_once_however_often_it_is_opened(bench: Bench) -> None:
    await asyncio.gather(*(bench.another() for _ in range(3)))
    newer = replace(default_bundle(), hash="e" * 64)
    await asyncio.gather(*(bench.another(newer) for _ in range(3)))
    assert sorted(row.bundle_id for row in await bench.sql("SELECT * FROM policy_bundle")) == [1, 2]
