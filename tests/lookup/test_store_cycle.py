"""HELD, ISSUING, ISSUED and the ways out (design section 3), on both stores."""

import json
from datetime import timedelta
from typing import Any

import pytest

from soleclaim.core.serials import UnitBlock
from soleclaim.lookup.domain import EventKind, Lock, LockId, LockState, Token
from soleclaim.lookup.ports import Moved, SerialConflict
from soleclaim.lookup.store import base
from tests.lookup.conftest import Bench, ref


def states(answers: list[Moved] | list[Moved | SerialConflict]) -> list[tuple[bool, LockState | None]]:
    found = []
    for each in answers:
        assert isinstance(each, Moved)
        found.append((each.done, each.lock.state if each.lock else None))
    return found


async def test_begin_moves_a_held_lock_to_issuing_and_ends_its_time(bench: Bench) -> None:
    held = await bench.held(bench.claim(bench.key()))
    issuing = bench.done(await bench.begin(ref(held)))
    assert (issuing.state, issuing.expire_time, issuing.token) == (LockState.ISSUING, None, held.token)
    assert await bench.lock(held) == issuing


async def test_begin_is_refused_once_the_databases_clock_is_past_the_expiry(bench: Bench) -> None:
    held = await bench.held(bench.claim(bench.key()))
    await bench.expire(held)
    assert states(await bench.begin(ref(held))) == [(False, LockState.HELD)]


async def test_begin_is_allowed_until_the_expiry(bench: Bench) -> None:
    """The database's clock rules, whatever the machine that asks believes."""
    held = await bench.held(bench.claim(bench.key(), ttl_s=0))
    await bench.sql("UPDATE issuance_lock SET expire_us = :us", us=2**62)
    assert states(await bench.begin(ref(held))) == [(True, LockState.ISSUING)]


async def test_an_answer_tells_the_databases_clock(bench: Bench) -> None:
    held = await bench.held(bench.claim(bench.key()))
    [moved] = await bench.begin(ref(held))
    assert moved.lock is not None
    assert held.create_time <= moved.lock.update_time <= moved.as_of
    assert moved.as_of - held.create_time < timedelta(minutes=5)


async def test_begin_twice_is_done_once(bench: Bench) -> None:
    held = await bench.held(bench.claim(bench.key()))
    assert states(await bench.begin(ref(held))) == [(True, LockState.ISSUING)]
    assert states(await bench.begin(ref(held))) == [(False, LockState.ISSUING)]


@pytest.mark.parametrize("verb", ["begin", "release", "commit", "abort"])
@pytest.mark.parametrize("wrong", ["older token", "newer token", "other registry", "unknown lock"])
async def test_a_grant_that_does_not_fit_changes_nothing(bench: Bench, verb: str, wrong: str) -> None:
    claim = bench.claim(bench.key())
    lock = await (bench.held(claim) if verb in ("begin", "release") else bench.issuing(claim))
    every: dict[str, dict[str, Any]] = {
        "older token": {"token": Token(lock.token - 1)},
        "newer token": {"token": Token(lock.token + 1)},
        "other registry": {"registry": "gec"},
        "unknown lock": {"lock_id": LockId(lock.lock_id + 1000)},
    }
    changed = every[wrong]
    answers: list[Moved] | list[Moved | SerialConflict]
    if verb == "commit":
        answers = await bench.commit(bench.commitment(lock, **changed))
    elif verb == "abort":
        answers = await bench.abort(bench.abortion(lock, **changed))
    else:
        answers = await (bench.begin if verb == "begin" else bench.release)(ref(lock, **changed))
    assert states(answers) == [(False, None if wrong == "unknown lock" else lock.state)]
    assert await bench.lock(lock) == lock
    assert len(await bench.sql("SELECT * FROM unit_block")) == 0
    assert {each.kind for each in await bench.events()} <= {EventKind.LOCK_GRANTED, EventKind.ISSUANCE_BEGUN}


ALLOWED = {
    "begin": {LockState.HELD: LockState.ISSUING},
    "release": {LockState.HELD: LockState.RELEASED},
    "commit": {LockState.ISSUING: LockState.ISSUED},
    "abort": {LockState.ISSUING: LockState.ABORTED},
}


@pytest.mark.parametrize("verb", ALLOWED)
async def test_only_the_arrows_of_the_design_move_a_lock(bench: Bench, verb: str) -> None:
    claims = {state: bench.claim(bench.key()) for state in LockState}
    locks = {
        LockState.HELD: await bench.held(claims[LockState.HELD]),
        LockState.ISSUING: await bench.issuing(claims[LockState.ISSUING]),
        LockState.ISSUED: await bench.issued(claims[LockState.ISSUED]),
        LockState.RELEASED: bench.done(await bench.release(ref(await bench.held(claims[LockState.RELEASED])))),
        LockState.ABORTED: bench.done(
            await bench.abort(bench.abortion(await bench.issuing(claims[LockState.ABORTED])))
        ),
    }
    expired = await bench.held(claims[LockState.EXPIRED])
    await bench.expire(expired)
    await bench.store.expire_stale(limit=1)
    locks[LockState.EXPIRED] = await bench.lock(expired)
    assert {state: lock.state for state, lock in locks.items()} == {state: state for state in LockState}

    async with bench.store.transaction() as transaction:
        answers: list[Moved] | list[Moved | SerialConflict]
        if verb == "commit":
            answers = await transaction.commit([bench.commitment(lock) for lock in locks.values()])
        elif verb == "abort":
            answers = await transaction.abort([bench.abortion(lock) for lock in locks.values()])
        else:
            answers = await getattr(transaction, verb)([ref(lock) for lock in locks.values()])
    assert states(answers) == [(state in ALLOWED[verb], ALLOWED[verb].get(state, state)) for state in locks]


async def test_answers_of_a_batch_stand_in_the_order_of_its_items(bench: Bench) -> None:
    locks = [each for each in await bench.grant(*(bench.claim(bench.key()) for _ in range(20)))
             if isinstance(each, Lock)]  # fmt: skip
    backwards = locks[::-1]
    begun = await bench.begin(*(ref(each) for each in backwards))
    assert [each.lock.lock_id for each in begun if each.lock] == [each.lock_id for each in backwards]
    committed = await bench.commit(*(bench.commitment(each) for each in backwards))
    assert [each.lock.lock_id for each in committed if isinstance(each, Moved) and each.lock] == [
        each.lock_id for each in backwards
    ]


async def test_commit_writes_the_ledger(bench: Bench) -> None:
    lock = await bench.issuing(bench.claim(bench.key(), units=12))
    blocks = (UnitBlock("B", 5, 10), UnitBlock("A", 1, 4), UnitBlock("B", 20, 21))
    issued = bench.done(await bench.commit(bench.commitment(lock, *blocks, native_id="N-1")))
    assert (issued.state, issued.issued_units, issued.issuance_count) == (LockState.ISSUED, 12, 1)
    async with bench.store.reading() as reader:
        [entry] = (await reader.issuances([lock.lock_id]))[lock.lock_id]
        assert await reader.issuances([LockId(lock.lock_id + 1)]) == {}
    assert (entry.native_issuance_id, entry.reference, entry.units, entry.token) == (
        "N-1",
        lock.reference,
        12,
        lock.token,
    )
    assert sorted(entry.blocks) == sorted(blocks)
    assert entry.commit_time == issued.update_time


@pytest.mark.parametrize("units", [9, 11])
async def test_commit_of_other_units_than_granted_leaves_the_lock_issuing(bench: Bench, units: int) -> None:
    lock = await bench.issuing(bench.claim(bench.key(), units=10))
    assert states(await bench.commit(bench.commitment(lock, UnitBlock("S", 1, units)))) == [(False, LockState.ISSUING)]
    assert await bench.sql("SELECT * FROM unit_block") == []
    bench.done(await bench.commit(bench.commitment(lock, UnitBlock("S", 1, 10))))


async def test_commit_twice_is_done_once(bench: Bench) -> None:
    lock = await bench.issuing(bench.claim(bench.key()))
    commitment = bench.commitment(lock)
    bench.done(await bench.commit(commitment))
    assert states(await bench.commit(commitment)) == [(False, LockState.ISSUED)]
    assert (await bench.lock(lock)).issued_units == 10


async def test_an_aborted_lock_keeps_its_evidence_in_the_history(bench: Bench) -> None:
    lock = await bench.issuing(bench.claim(bench.key()))
    aborted = bench.done(await bench.abort(bench.abortion(lock, detail="编号不存在")))
    assert aborted.state is LockState.ABORTED
    [[detail]] = await bench.sql("SELECT detail FROM history_entry WHERE kind = :kind", kind=EventKind.ISSUANCE_ABORTED)
    assert json.loads(detail) == {"evidence": "NATIVE_REFUSED", "detail": "编号不存在"}


async def test_a_supplement_is_a_new_grant_under_the_issued_lock(bench: Bench) -> None:
    issued = await bench.issued(bench.claim(bench.key(), units=10))
    granted = await bench.supplemented(issued, units=4, ttl_s=30)
    assert (granted.lock_id, granted.state, granted.supplement) == (issued.lock_id, LockState.ISSUED, True)
    assert granted.token > issued.token
    assert granted.reference != issued.reference
    assert (granted.units, granted.issued_units, granted.issuance_count) == (4, 10, 1)
    assert granted.expire_time == granted.update_time + timedelta(seconds=30)
    assert await bench.lock(issued) == granted

    assert states(await bench.begin(ref(issued))) == [(False, LockState.ISSUED)], "the first grant's token is stale"
    issuing = bench.done(await bench.begin(ref(granted)))
    assert (issuing.state, issuing.supplement) == (LockState.ISSUING, True)
    assert states(await bench.commit(bench.commitment(issued))) == [(False, LockState.ISSUING)]
    again = bench.done(await bench.commit(bench.commitment(issuing)))
    assert (again.state, again.supplement, again.expire_time) == (LockState.ISSUED, False, None)
    assert (again.issued_units, again.issuance_count) == (14, 2)
    async with bench.store.reading() as reader:
        entries = (await reader.issuances([issued.lock_id]))[issued.lock_id]
    assert [(each.units, each.token, each.reference) for each in entries] == [
        (10, issued.token, issued.reference),
        (4, granted.token, granted.reference),
    ]
    assert all(sum(block.count for block in each.blocks) == each.units for each in entries)


async def test_one_supplement_is_open_at_a_time(bench: Bench) -> None:
    issued = await bench.issued(bench.claim(bench.key()))
    granted = await bench.supplemented(issued)
    assert await bench.supplement(issued, bench.claim(issued.activity_key)) is None
    await bench.begin(ref(granted))
    assert await bench.supplement(issued, bench.claim(issued.activity_key)) is None
    await bench.commit(bench.commitment(granted))
    assert (await bench.supplemented(issued)).token > granted.token


async def test_an_expired_supplement_makes_room_for_the_next(bench: Bench) -> None:
    issued = await bench.issued(bench.claim(bench.key()))
    first = await bench.supplemented(issued)
    await bench.expire(first)
    assert states(await bench.begin(ref(first))) == [(False, LockState.ISSUED)]
    second = await bench.supplemented(issued)
    assert states(await bench.begin(ref(first))) == [(False, LockState.ISSUED)], "its token is stale now"
    bench.done(await bench.begin(ref(second)))


@pytest.mark.parametrize("state", [LockState.HELD, LockState.ISSUING, LockState.RELEASED])
async def test_a_supplement_needs_an_issued_lock(bench: Bench, state: LockState) -> None:
    claim = bench.claim(bench.key())
    lock = await (bench.issuing(claim) if state is LockState.ISSUING else bench.held(claim))
    if state is LockState.RELEASED:
        await bench.release(ref(lock))
    before = await bench.lock(lock)
    assert await bench.supplement(lock, claim) is None
    assert await bench.lock(lock) == before


async def test_aborting_a_supplement_leaves_the_earlier_issuance_standing(bench: Bench) -> None:
    key = bench.key()
    issued = await bench.issued(bench.claim(key))
    granted = await bench.supplemented(issued, units=3)
    issuing = bench.done(await bench.begin(ref(granted)))
    back = bench.done(await bench.abort(bench.abortion(issuing)))
    assert (back.state, back.supplement, back.issued_units, back.issuance_count) == (LockState.ISSUED, False, 10, 1)
    assert [each.lock_id for each in await bench.refused(bench.claim(key))] == [issued.lock_id]
    assert states(await bench.begin(ref(granted))) == [(False, LockState.ISSUED)]


async def test_releasing_a_supplement_leaves_the_lock_issued_and_without_a_grant(bench: Bench) -> None:
    key = bench.key()
    issued = await bench.issued(bench.claim(key))
    granted = await bench.supplemented(issued)
    back = bench.done(await bench.release(ref(granted)))
    assert (back.state, back.supplement, back.expire_time) == (LockState.ISSUED, False, None)
    assert states(await bench.release(ref(granted))) == [(False, LockState.ISSUED)]
    assert states(await bench.begin(ref(granted))) == [(False, LockState.ISSUED)]
    await bench.refused(bench.claim(key, registry="gec"))


async def test_a_held_lock_past_its_time_can_still_be_released(bench: Bench) -> None:
    held = await bench.held(bench.claim(bench.key()))
    await bench.expire(held)
    assert states(await bench.release(ref(held))) == [(True, LockState.RELEASED)]


async def test_the_sweeper_expires_held_locks_past_their_time_and_no_others(bench: Bench) -> None:
    stale = [await bench.held(bench.claim(bench.key())) for _ in range(3)]
    live = await bench.held(bench.claim(bench.key()))
    issuing = await bench.issuing(bench.claim(bench.key()))
    issued = await bench.supplemented(await bench.issued(bench.claim(bench.key())))
    await bench.expire(*stale, issued)
    assert await bench.store.expire_stale(limit=2) == 2
    assert await bench.store.expire_stale(limit=2) == 1
    assert await bench.store.expire_stale(limit=2) == 0
    for each in stale:
        swept = await bench.lock(each)
        assert (swept.state, swept.expire_time) == (LockState.EXPIRED, None)
        await bench.held(bench.claim(each.activity_key))
    assert [await bench.state(each) for each in (live, issuing, issued)] == [
        LockState.HELD, LockState.ISSUING, LockState.ISSUED,
    ]  # fmt: skip
    kinds = [each.kind for each in await bench.events()]
    assert kinds.count(EventKind.LOCK_EXPIRED) == 3


async def test_the_sweeper_goes_on_with_locks_that_come_later(bench: Bench) -> None:
    for _ in range(3):
        held = await bench.held(bench.claim(bench.key()))
        assert await bench.store.expire_stale(limit=10) == 0
        await bench.expire(held)
        assert await bench.store.expire_stale(limit=10) == 1
        assert await bench.store.expire_stale(limit=10) == 0


async def test_the_sweeper_sees_a_lock_whose_grant_was_committed_late(bench: Bench) -> None:
    """Numbers are given before the commit: a lower number may come into sight after a higher one was looked at."""
    if bench.kind == "sqlite":
        pytest.skip("SQLite has one writer: numbers come into sight in order")
    async with bench.store.transaction() as late:
        [lock] = await late.grant([bench.claim(bench.key())])
        assert isinstance(lock, Lock)
        early = await bench.held(bench.claim(bench.key()))
        assert early.lock_id > lock.lock_id
        await bench.release(ref(early))
        assert await bench.store.expire_stale(limit=10) == 0
    await bench.expire(lock)
    assert await bench.store.expire_stale(limit=10) == 1
    assert await bench.state(lock) is LockState.EXPIRED


async def test_the_sweeper_looks_past_locks_that_ended_long_ago(bench: Bench) -> None:
    """It looks at a window of locks at a time, and does not begin with the first of all each time."""
    for _ in range(6):
        await bench.release(ref(await bench.held(bench.claim(bench.key()))))
    stale = await bench.held(bench.claim(bench.key()))
    await bench.expire(stale)
    await bench.sql("UPDATE issuance_lock SET create_us = 1")
    swept, swept_to = 0, 0
    for _ in range(4):
        async with bench.store.transaction() as transaction:
            expired, swept_to, _ = await transaction.expire_above(swept_to, window=2, limit=10)
            swept += expired
    assert (swept, swept_to) == (1, stale.lock_id - 1)
    assert await bench.state(stale) is LockState.EXPIRED


async def test_the_sweeper_comes_to_a_stale_lock_that_others_stand_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that is held for long ends a window early; the next look goes on after it, and then begins anew."""
    monkeypatch.setattr(base, "EXPIRE_WINDOW", 2)
    for _ in range(5):
        await bench.held(bench.claim(bench.key()))
    for _ in range(2):
        stale = await bench.held(bench.claim(bench.key()))
        await bench.expire(stale)
        assert [await bench.store.expire_stale(limit=10) for _ in range(4)].count(1) == 1
        assert await bench.state(stale) is LockState.EXPIRED
