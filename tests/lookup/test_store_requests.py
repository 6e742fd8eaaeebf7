"""Idempotency: one request, one answer (I10), on both stores."""

import asyncio
from datetime import timedelta

import pytest

from soleclaim.core.errors import DomainError, Reason
from soleclaim.db.engine import open_engine
from soleclaim.lookup.domain import EventKind, Lock
from soleclaim.lookup.store.transaction import SqlTransaction
from soleclaim.policy.bundle import default_bundle
from tests.lookup.conftest import Bench


async def never(_transaction: SqlTransaction) -> bytes:
    raise AssertionError("a repeat runs no work")


async def test_a_repeat_gets_the_first_answer_and_runs_nothing(bench: Bench) -> None:
    key, activity = bench.request_key(), bench.key()

    async def work(transaction: SqlTransaction) -> bytes:
        await transaction.grant([bench.claim(activity)])
        return b"\x00\xffanswer"

    assert await bench.store.once(key, work) == b"\x00\xffanswer"
    assert await bench.store.once(key, never) == b"\x00\xffanswer"
    assert len(await bench.locks()) == 1


async def test_an_empty_answer_is_an_answer(bench: Bench) -> None:
    key = bench.request_key()

    async def work(_transaction: SqlTransaction) -> bytes:
        return b""

    assert await bench.store.once(key, work) == b""
    assert await bench.store.once(key, never) == b""


@pytest.mark.parametrize("changed", [{"payload": b"other"}, {"method": "Begin"}])
async def test_a_request_id_with_other_content_is_refused(bench: Bench, changed: dict[str, object]) -> None:
    async def work(_transaction: SqlTransaction) -> bytes:
        return b"answer"

    await bench.store.once(bench.request_key("id-1"), work)
    with pytest.raises(DomainError) as refusal:
        await bench.store.once(bench.request_key("id-1", **changed), never)  # type: ignore[arg-type]
    assert refusal.value.reason is Reason.REQUEST_ID_REUSED
    assert await bench.store.once(bench.request_key("id-1"), never) == b"answer"


async def test_two_callers_may_use_one_request_id(bench: Bench) -> None:
    async def work(_transaction: SqlTransaction) -> bytes:
        return b"answer"

    key = bench.request_key("id-1")
    await bench.store.once(key, work)
    other = type(key)("registry/gec", key.request_id, key.method, b"\x01" * 32)
    assert await bench.store.once(other, work) == b"answer"


async def test_work_that_raises_does_nothing_and_can_be_repeated(bench: Bench) -> None:
    key, activity = bench.request_key(), bench.key()

    async def fail(transaction: SqlTransaction) -> bytes:
        [answer] = await transaction.grant([bench.claim(activity)])
        assert isinstance(answer, Lock)
        raise DomainError(Reason.LOCK_UNKNOWN, lock="x")

    with pytest.raises(DomainError) as refusal:
        await bench.store.once(key, fail)
    assert refusal.value.reason is Reason.LOCK_UNKNOWN
    assert await bench.locks() == []
    assert await bench.events() == []

    async def work(transaction: SqlTransaction) -> bytes:
        await transaction.grant([bench.claim(activity)])
        return b"second"

    assert await bench.store.once(key, work) == b"second"
    assert len(await bench.locks()) == 1


async def test_cancelled_work_does_nothing(bench: Bench) -> None:
    key, activity = bench.request_key(), bench.key()
    granted = asyncio.Event()

    async def hang(transaction: SqlTransaction) -> bytes:
        await transaction.grant([bench.claim(activity)])
        granted.set()
        await asyncio.Event().wait()
        return b""

    task = asyncio.create_task(bench.store.once(key, hang))
    await granted.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await bench.locks() == []
    await bench.held(bench.claim(activity))


async def test_the_answer_is_kept_over_reopening_the_store(bench: Bench) -> None:
    key, activity = bench.request_key(), bench.key()

    async def work(transaction: SqlTransaction) -> bytes:
        await transaction.grant([bench.claim(activity)])
        return b"first"

    await bench.store.once(key, work)
    await bench.store.close()
    reopened = await bench.another()
    assert await reopened.store.once(key, never) == b"first"
    assert len(await reopened.locks()) == 1


async def test_of_two_repeats_that_race_one_runs_and_both_get_its_answer(bench: Bench) -> None:
    other = await bench.another()
    for _ in range(10):
        key, activity = bench.request_key(), bench.key()
        runs: list[int] = []

        async def work(
            transaction: SqlTransaction,
            activity: object = activity,
            runs: list[int] = runs,
        ) -> bytes:
            runs.append(1)
            [lock] = await transaction.grant([bench.claim(activity)])  # type: ignore[arg-type]
            assert isinstance(lock, Lock)
            return str(lock.lock_id).encode()

        stores = (bench.store, other.store, bench.store)
        answers = await asyncio.gather(*(store.once(key, work) for store in stores))
        assert len(set(answers)) == 1
        assert len(runs) == 1


async def test_when_the_first_of_two_racing_repeats_fails_the_second_runs(bench: Bench) -> None:
    other, key, activity = await bench.another(), bench.request_key(), bench.key()
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def fail(transaction: SqlTransaction) -> bytes:
        await transaction.grant([bench.claim(activity)])
        inside.set()
        await go_on.wait()
        raise DomainError(Reason.LOCK_UNKNOWN, lock="x")

    async def work(transaction: SqlTransaction) -> bytes:
        [lock] = await transaction.grant([bench.claim(activity)])
        assert isinstance(lock, Lock)
        return b"second"

    first = asyncio.create_task(bench.store.once(key, fail))
    await inside.wait()
    second = asyncio.create_task(other.store.once(key, work))
    await asyncio.sleep(0.05)  # let it come to wait; nothing is asserted of time
    go_on.set()
    with pytest.raises(DomainError):
        await first
    assert await second == b"second"
    assert [each.kind for each in await bench.events()] == [EventKind.LOCK_GRANTED]


async def test_a_store_that_is_locked_too_long_is_busy(bench: Bench) -> None:
    impatient = open_engine(bench.url, lock_timeout=timedelta(milliseconds=100))
    bench.stack.push_async_callback(impatient.dispose)
    other = await type(bench.store).open(impatient, default_bundle())
    async with bench.store.transaction() as transaction:
        await transaction.bar_grants()
        with pytest.raises(DomainError) as refusal:
            async with other.transaction() as second:
                await second.bar_outcome_changes()
    assert refusal.value.reason is Reason.STORE_BUSY


async def test_a_server_out_of_reach_is_busy(bench: Bench) -> None:
    if bench.kind == "sqlite":
        pytest.skip("a file is always in reach")
    cut_all = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid()"
    )

    async def be_cut() -> None:
        async with bench.store.transaction() as transaction:
            await transaction.grant([bench.claim(bench.key())])
            await bench.sql(cut_all)

    await bench.locks()
    await bench.sql(cut_all)
    assert await bench.locks() == [], "a connection that died while idle is replaced"
    with pytest.raises(DomainError, match="STORE_BUSY"):
        await be_cut()
    assert await bench.locks() == []
