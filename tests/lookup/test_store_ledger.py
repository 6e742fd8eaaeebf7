"""Serials and native ids stand in the ledger once (I3), and a conflict hurts nobody else."""

import pytest

from soleclaim.core.serials import MAX_SERIAL, UnitBlock
from soleclaim.lookup.domain import EventKind, Lock, LockState
from soleclaim.lookup.ports import Moved, SerialConflict
from tests.lookup.conftest import Bench


@pytest.mark.parametrize(("start", "end"), [(1, 10), (10, 19), (5, 14), (101, 110), (96, 105)])
async def test_serials_that_stand_in_the_ledger_leave_the_lock_issuing(bench: Bench, start: int, end: int) -> None:
    await bench.issued(bench.claim(bench.key(), units=20), UnitBlock("S", 1, 10), UnitBlock("S", 101, 110))
    lock = await bench.issuing(bench.claim(bench.key(), units=10))
    before = await bench.events()
    assert await bench.commit(bench.commitment(lock, UnitBlock("S", start, end))) == [SerialConflict("S")]
    assert await bench.lock(lock) == lock
    assert await bench.events() == before
    assert len(await bench.sql("SELECT * FROM issuance")) == 1
    bench.done(await bench.commit(bench.commitment(lock, UnitBlock("S", 11, 20))))


@pytest.mark.parametrize("block", [UnitBlock("S", 0, 0), UnitBlock("S", 11, 11), UnitBlock("T", 1, 1)])
async def test_serials_beside_those_of_the_ledger_are_free(bench: Bench, block: UnitBlock) -> None:
    await bench.issued(bench.claim(bench.key()), UnitBlock("S", 1, 10))
    await bench.issued(bench.claim(bench.key(), units=1), block)


async def test_two_registries_may_use_one_series_name(bench: Bench) -> None:
    await bench.issued(bench.claim(bench.key(), registry="ccer"), UnitBlock("S", 1, 10))
    await bench.issued(bench.claim(bench.key(), registry="gec"), UnitBlock("S", 1, 10))


async def test_the_largest_serial_is_a_serial_like_others(bench: Bench) -> None:
    top = UnitBlock("S", MAX_SERIAL, MAX_SERIAL)
    await bench.issued(bench.claim(bench.key(), units=1), top)
    lock = await bench.issuing(bench.claim(bench.key(), units=1))
    assert await bench.commit(bench.commitment(lock, top)) == [SerialConflict("S")]


async def test_a_native_issuance_id_is_used_once_per_registry(bench: Bench) -> None:
    await bench.issued(bench.claim(bench.key()), native_id="N-1")
    lock = await bench.issuing(bench.claim(bench.key()))
    commitment = bench.commitment(lock, native_id="N-1")
    assert await bench.commit(commitment) == [SerialConflict(commitment.blocks[0].series)]
    assert await bench.state(lock) is LockState.ISSUING
    await bench.issued(bench.claim(bench.key(), registry="gec"), native_id="N-1")


async def test_a_supplement_cannot_reuse_serials_or_id_of_its_own_lock(bench: Bench) -> None:
    issued = await bench.issued(bench.claim(bench.key()), UnitBlock("S", 1, 10), native_id="N-1")
    granted = await bench.supplemented(issued)
    await bench.begin(bench.commitment(granted).grant)
    assert await bench.commit(bench.commitment(granted, UnitBlock("S", 1, 10))) == [SerialConflict("S")]
    assert await bench.commit(bench.commitment(granted, UnitBlock("S", 11, 20), native_id="N-1")) == [
        SerialConflict("S")
    ]
    assert (await bench.lock(issued)).issued_units == 10


async def test_a_conflict_leaves_the_other_items_of_the_batch_unharmed(bench: Bench) -> None:
    await bench.issued(bench.claim(bench.key()), UnitBlock("S", 1, 10), native_id="N-1")
    locks = [await bench.issuing(bench.claim(bench.key())) for _ in range(6)]
    answers = await bench.commit(
        bench.commitment(locks[0], UnitBlock("S", 11, 20)),
        bench.commitment(locks[1], UnitBlock("S", 10, 19)),
        bench.commitment(locks[2], UnitBlock("S", 31, 40), native_id="N-1"),
        bench.commitment(locks[3], UnitBlock("S", 41, 50)),
        bench.commitment(locks[4], UnitBlock("S", 61, 69)),
        bench.commitment(locks[5], UnitBlock("T", 1, 5), UnitBlock("U", 1, 5)),
    )
    told = [each.done if isinstance(each, Moved) else each for each in answers]
    assert told == [True, SerialConflict("S"), SerialConflict("S"), True, False, True]
    issued, issuing = LockState.ISSUED, LockState.ISSUING
    assert [await bench.state(each) for each in locks] == [issued, issuing, issuing, issued, issuing, issued]
    ranges = await bench.sql("SELECT series, start_serial, end_serial FROM unit_block ORDER BY series, start_serial")
    assert [tuple(each) for each in ranges] == [
        ("S", 1, 10), ("S", 11, 20), ("S", 41, 50), ("T", 1, 5), ("U", 1, 5),
    ]  # fmt: skip
    committed = [each.lock_id for each in await bench.events() if each.kind is EventKind.ISSUANCE_COMMITTED]
    assert set(committed[1:]) == {locks[0].lock_id, locks[3].lock_id, locks[5].lock_id}
    async with bench.store.reading() as reader:
        ledger = await reader.issuances([each.lock_id for each in locks])
    assert set(ledger) == {locks[0].lock_id, locks[3].lock_id, locks[5].lock_id}


async def test_of_two_items_with_the_same_serials_the_first_wins(bench: Bench) -> None:
    first, second = [await bench.issuing(bench.claim(bench.key())) for _ in range(2)]
    answers = await bench.commit(
        bench.commitment(second, UnitBlock("S", 5, 14)), bench.commitment(first, UnitBlock("S", 1, 10))
    )
    assert isinstance(answers[0], Moved)
    assert answers[1] == SerialConflict("S")


async def test_of_two_items_with_the_same_native_id_the_first_wins(bench: Bench) -> None:
    first, second = [await bench.issuing(bench.claim(bench.key())) for _ in range(2)]
    answers = await bench.commit(bench.commitment(second, native_id="N"), bench.commitment(first, native_id="N"))
    assert isinstance(answers[0], Moved)
    assert isinstance(answers[1], SerialConflict)
    assert await bench.state(first) is LockState.ISSUING


async def test_a_long_block_is_seen_behind_short_ones(bench: Bench) -> None:
    """Between an early long range and the asked one may lie many short ones."""
    blocks = [UnitBlock("S", 1_000_000, 1_999_999), *(UnitBlock("S", 10 * i, 10 * i) for i in range(50))]
    await bench.issued(bench.claim(bench.key(), units=1_000_050), *blocks)
    lock = await bench.issuing(bench.claim(bench.key(), units=1))
    assert await bench.commit(bench.commitment(lock, UnitBlock("S", 1_999_999, 1_999_999))) == [SerialConflict("S")]
    bench.done(await bench.commit(bench.commitment(lock, UnitBlock("S", 495, 495))))


async def test_a_batch_of_hundreds_with_many_blocks_is_committed(bench: Bench) -> None:
    claims = [bench.claim(bench.key(), units=30) for _ in range(200)]
    locks = [each for each in await bench.grant(*claims) if isinstance(each, Lock)]
    commitments = [
        bench.commitment(lock, *(UnitBlock("S", 100 * i + 10 * j, 100 * i + 10 * j + 9) for j in (2, 0, 1)))
        for i, lock in enumerate(locks)
    ]
    await bench.begin(*(each.grant for each in commitments))
    answers = await bench.commit(*reversed(commitments))
    assert all(isinstance(each, Moved) and each.done for each in answers)
    assert [
        tuple(each) for each in await bench.sql("SELECT count(*), count(DISTINCT start_serial) FROM unit_block")
    ] == [(600, 600)]


@pytest.mark.parametrize("table", ["history_entry", "issuance", "unit_block"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET token = 0", "DELETE FROM {}", "TRUNCATE {}"])
async def test_the_ledger_and_the_history_are_append_only(bench: Bench, table: str, verb: str) -> None:
    if bench.kind == "sqlite" and verb.startswith("TRUNCATE"):
        pytest.skip("SQLite has no TRUNCATE")
    await bench.issued(bench.claim(bench.key()))
    before = await bench.sql(f"SELECT * FROM {table}")  # noqa: S608
    with pytest.raises(Exception, match="append-only"):
        await bench.sql(verb.format(table))
    assert before
    assert await bench.sql(f"SELECT * FROM {table}") == before  # noqa: S608
