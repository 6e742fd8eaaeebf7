"""Several stores on one database at once: whatever meets, only one wins (I1, I3, I7)."""

import asyncio
import itertools
import random
from collections import defaultdict

from soleclaim.core.errors import DomainError, Reason
from soleclaim.core.serials import UnitBlock
from soleclaim.lookup.domain import Claim, EventKind, Lock, LockState, Slice
from soleclaim.lookup.ports import Moved, SerialConflict
from soleclaim.lookup.store.transaction import SqlTransaction
from tests.lookup.conftest import Bench, ref


async def stores(bench: Bench, count: int) -> list[Bench]:
    return [bench, *[await bench.another() for _ in range(count - 1)]]


async def grant_once(at: Bench, claims: list[Claim]) -> list[Lock]:
    """As the service does it, so that deadlocks are repeated; the locks that were granted."""
    granted: list[Lock] = []

    async def work(transaction: SqlTransaction) -> bytes:
        granted[:] = [each for each in await transaction.grant(claims) if isinstance(each, Lock)]
        return b""

    try:
        await at.store.once(at.request_key(), work)
    except DomainError as refusal:
        assert refusal.reason is Reason.STORE_BUSY  # noqa: PT017  every other reason would be wrong
        return []
    return granted


async def test_of_many_who_want_one_outcome_at_once_one_gets_it(bench: Bench) -> None:
    sides = await stores(bench, 4)
    for _ in range(8):
        key = bench.key()
        wins = await asyncio.gather(*(grant_once(at, [at.claim(key)]) for at in sides))
        assert sum(map(len, wins)) == 1


async def test_batches_that_overlap_in_any_order_never_share_an_outcome(bench: Bench) -> None:
    """Periods, slices and attributes at random, in an order that invites deadlocks."""
    sides, keys = await stores(bench, 4), [bench.key() for _ in range(6)]
    numbers = random.Random(4)

    def batch(at: Bench) -> list[Claim]:
        claims: list[Claim] = []
        for _ in range(30):
            start, cut = numbers.randrange(20), sorted(numbers.sample(range(8), 2))
            claim = at.claim(
                numbers.choice(keys),
                at.period(start, start + numbers.randint(1, 3)),
                attributes=numbers.choice([(1,), (2,), (1, 2)]),
                within=Slice(*cut),
            )
            if not any(claim.contradicts(each) for each in claims):
                claims.append(claim)
        return claims

    async def work(at: Bench) -> list[tuple[Claim, Lock]]:
        found = []
        for _ in range(5):
            claims = batch(at)
            locks = await grant_once(at, claims)
            by_reference = {each.request.reference: each for each in claims}
            found += [(by_reference[each.reference], each) for each in locks]
            for each in locks[::3]:
                await at.release(ref(each))
        return found

    granted = [pair for side in await asyncio.gather(*map(work, sides)) for pair in side]
    assert len(granted) > 50
    live = {each.lock_id for each in await bench.locks() if each.state is LockState.HELD}
    standing = [(claim, lock) for claim, lock in granted if lock.lock_id in live]
    assert len(standing) == len(live)
    for (one, _), (two, _) in itertools.combinations(standing, 2):
        assert not one.contradicts(two)


async def test_the_stream_of_an_activity_never_contradicts_itself_under_races(bench: Bench) -> None:
    """Replayed in its order, no grant of the same outcome comes before the end of the one before it."""
    sides, keys = await stores(bench, 4), [bench.key() for _ in range(3)]

    async def work(at: Bench) -> None:
        for _ in range(8):
            for each in await grant_once(at, [at.claim(key) for key in keys]):
                await at.release(ref(each))

    await asyncio.gather(*map(work, sides))
    holder: dict[int, int | None] = defaultdict(lambda: None)
    last_token: dict[int, int] = defaultdict(int)
    for event in await bench.events():
        assert event.activity_key is not None
        if event.kind is EventKind.LOCK_GRANTED:
            assert holder[event.activity_key] is None
            assert event.token > last_token[event.activity_key]
            holder[event.activity_key], last_token[event.activity_key] = event.lock_id, event.token
        else:
            assert holder[event.activity_key] == event.lock_id
            holder[event.activity_key] = None


async def test_begin_release_and_sweep_at_once_agree_on_one_end(bench: Bench) -> None:
    one, two = await stores(bench, 2)
    for _ in range(10):
        lock = await bench.held(bench.claim(bench.key()))
        begun, released = await asyncio.gather(one.begin(ref(lock)), two.release(ref(lock)))
        assert sorted((begun[0].done, released[0].done)) == [False, True]
        assert await bench.state(lock) is (LockState.ISSUING if begun[0].done else LockState.RELEASED)
    for _ in range(5):
        lock = await bench.held(bench.claim(bench.key()))
        await bench.expire(lock)
        [granted], swept, [begun_late] = await asyncio.gather(
            one.grant(one.claim(lock.activity_key)), two.store.expire_stale(limit=10), bench.begin(ref(lock))
        )
        assert isinstance(granted, Lock)
        assert swept in (0, 1)
        assert begun_late.done is False
        expired = [each for each in await bench.events() if each.lock_id == lock.lock_id]
        assert [each.kind for each in expired] == [EventKind.LOCK_GRANTED, EventKind.LOCK_EXPIRED]


async def test_begin_at_once_from_two_sides_is_done_once(bench: Bench) -> None:
    sides = await stores(bench, 3)
    for _ in range(8):
        lock = await bench.held(bench.claim(bench.key()))
        answers = await asyncio.gather(*(at.begin(ref(lock)) for at in sides))
        assert sorted(answer.done for [answer] in answers) == [False, False, True]


async def test_the_same_serials_committed_at_once_stand_once(bench: Bench) -> None:
    sides = await stores(bench, 3)
    for round_ in range(6):
        locks = [await bench.issuing(bench.claim(bench.key())) for _ in sides]
        answers = await asyncio.gather(
            *(
                at.commit(at.commitment(lock, UnitBlock("S", 100 * round_ + shift, 100 * round_ + shift + 9)))
                for shift, (at, lock) in enumerate(zip(sides, locks, strict=True))
            )
        )
        told = [answer for [answer] in answers]
        assert sum(isinstance(each, Moved) and each.done for each in told) == 1
        assert sum(isinstance(each, SerialConflict) for each in told) == 2
        assert sorted([await bench.state(each) for each in locks]) == [
            LockState.ISSUING, LockState.ISSUING, LockState.ISSUED,
        ]  # fmt: skip


async def test_of_two_supplements_at_once_one_is_granted(bench: Bench) -> None:
    sides = await stores(bench, 3)
    issued = await bench.issued(bench.claim(bench.key()))
    for _ in range(5):
        answers = await asyncio.gather(*(at.supplement(issued, at.claim(issued.activity_key)) for at in sides))
        [granted] = [each for each in answers if each is not None]
        await bench.release(ref(granted))
