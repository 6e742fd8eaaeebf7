"""The exclusion rule (design section 4) as grants and obstacles show it, on both stores."""

from datetime import timedelta

import pytest

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.period import Period
from soleclaim.lookup.domain import WHOLE, EventKind, Lock, LockState, Slice
from tests.lookup.conftest import CAP, REDUCTION, Bench, ref


async def test_a_grant_gives_a_held_lock_with_everything_that_was_asked(bench: Bench) -> None:
    claim = bench.claim(bench.key(), bench.period(3, 9), registry="gec", within=Slice(5, 8), units=7, ttl_s=60)
    claim = claim._replace(request=claim.request._replace(carried_in=250))
    lock = await bench.held(claim)
    request = claim.request
    assert (lock.state, lock.registry, lock.instrument) == (LockState.HELD, "gec", "GEC")
    assert (lock.activity_key, lock.country, lock.period) == (request.activity_key, "CN", request.period)
    assert (lock.slice, lock.units, lock.carried_in) == (Slice(5, 8), 7, 250)
    assert (lock.reference, lock.issued_units, lock.issuance_count) == (request.reference, 0, 0)
    assert lock.supplement is False
    assert lock.expire_time == lock.create_time + timedelta(seconds=60)
    assert await bench.lock(lock) == lock, "what the grant answers is what stands in the store"


async def test_a_lock_names_the_bundle_it_was_granted_under(bench: Bench) -> None:
    lock = await bench.held(bench.claim(bench.key()))
    assert len(lock.policy_hash) == 64
    assert (await bench.lock(lock)).policy_hash == lock.policy_hash


@pytest.mark.parametrize(
    ("start", "end"), [(10, 20), (5, 11), (19, 25), (12, 15), (5, 25), (19.999999, 20.5), (10, 10.000001)]
)
async def test_overlapping_periods_conflict(bench: Bench, start: float, end: float) -> None:
    key = bench.key()
    lock = await bench.held(bench.claim(key, bench.period(10, 20)))
    [obstacle] = await bench.refused(bench.claim(key, bench.period(start, end), registry="gec"))
    assert (obstacle.lock_id, obstacle.registry, obstacle.instrument) == (lock.lock_id, "ccer", "CCER")
    assert (obstacle.period, obstacle.slice, obstacle.state) == (bench.period(10, 20), WHOLE, LockState.HELD)
    assert obstacle.expire_time == lock.expire_time


async def test_periods_that_share_one_microsecond_conflict(bench: Bench) -> None:
    key, first = bench.key(), bench.period(0, 1)
    await bench.held(bench.claim(key, first))
    touching = Period(first.end - timedelta(microseconds=1), first.end + timedelta(days=1))
    await bench.refused(bench.claim(key, touching))


@pytest.mark.parametrize(("start", "end"), [(0, 10), (20, 30), (9, 10), (20, 20.000001)])
async def test_adjacent_periods_do_not_conflict(bench: Bench, start: float, end: float) -> None:
    key = bench.key()
    await bench.held(bench.claim(key, bench.period(10, 20)))
    await bench.held(bench.claim(key, bench.period(start, end), registry="gec"))


async def test_another_activity_does_not_conflict(bench: Bench) -> None:
    await bench.held(bench.claim(bench.key()))
    await bench.held(bench.claim(bench.key()))


async def test_the_smallest_and_largest_activity_keys_are_activities_like_others(bench: Bench) -> None:
    for key in (ActivityKey(0), ActivityKey(2**60 - 1)):
        lock = await bench.held(bench.claim(key))
        assert (await bench.refused(bench.claim(key)))[0].lock_id == lock.lock_id


@pytest.mark.parametrize(
    ("mine", "theirs", "conflict"),
    [
        ((REDUCTION,), (REDUCTION,), True),
        ((REDUCTION,), (REDUCTION, CAP), True),
        ((REDUCTION, CAP), (CAP,), True),
        ((REDUCTION,), (CAP,), False),
        ((30,), (1, 2, 29), False),
        ((1, 30), (30,), True),
    ],
)
async def test_locks_conflict_when_they_share_an_attribute(
    bench: Bench, mine: tuple[int, ...], theirs: tuple[int, ...], *, conflict: bool
) -> None:
    key = bench.key()
    await bench.held(bench.claim(key, attributes=mine))
    [answer] = await bench.grant(bench.claim(key, attributes=theirs))
    assert isinstance(answer, list) is conflict


@pytest.mark.parametrize(
    ("mine", "theirs", "conflict"),
    [
        (Slice(0, 100), Slice(100, 200), False),
        (Slice(0, 100), Slice(99, 200), True),
        (Slice(0, 100), WHOLE, True),
        (Slice(100, WHOLE.end), Slice(0, 100), False),
        (Slice(40, 60), Slice(50, 51), True),
        (Slice(WHOLE.end - 1, WHOLE.end), WHOLE, True),
    ],
)
async def test_locks_conflict_when_their_slices_overlap(
    bench: Bench, mine: Slice, theirs: Slice, *, conflict: bool
) -> None:
    key = bench.key()
    await bench.held(bench.claim(key, within=mine))
    [answer] = await bench.grant(bench.claim(key, within=theirs))
    assert isinstance(answer, list) is conflict


async def test_the_same_registry_conflicts_with_itself_too(bench: Bench) -> None:
    key = bench.key()
    lock = await bench.held(bench.claim(key))
    assert [each.lock_id for each in await bench.refused(bench.claim(key))] == [lock.lock_id]


async def test_obstacles_name_issued_before_issuing_before_held(bench: Bench) -> None:
    key = bench.key()
    held_late = await bench.held(bench.claim(key, bench.period(1, 2)))
    held_early = await bench.held(bench.claim(key, bench.period(0, 1)))
    issuing = await bench.issuing(bench.claim(key, bench.period(2, 3)))
    issued = await bench.issued(bench.claim(key, bench.period(3, 4)))
    expected = [
        (issued.lock_id, LockState.ISSUED),
        (issuing.lock_id, LockState.ISSUING),
        (held_early.lock_id, LockState.HELD),
        (held_late.lock_id, LockState.HELD),
    ]
    everything = bench.claim(key, bench.period(0, 4), registry="gec")
    assert [(each.lock_id, each.state) for each in await bench.refused(everything)] == expected
    async with bench.store.reading() as reader:
        [asked, none] = await reader.obstacles([everything, bench.claim(bench.key())])
    assert [(each.lock_id, each.state) for each in asked] == expected
    assert none == []


async def test_obstacles_of_a_batch_stand_in_the_order_of_its_items(bench: Bench) -> None:
    keys = [bench.key() for _ in range(5)]
    locks = [await bench.held(bench.claim(key)) for key in keys]
    async with bench.store.reading() as reader:
        found = await reader.obstacles([bench.claim(key) for key in reversed(keys)])
    assert [[each.lock_id for each in one] for one in found] == [[each.lock_id] for each in reversed(locks)]


async def test_a_batch_grants_what_is_free_and_refuses_the_rest_in_order(bench: Bench) -> None:
    taken, free = [bench.key() for _ in range(4)], [bench.key() for _ in range(4)]
    for key in taken:
        await bench.held(bench.claim(key))
    keys = [key for pair in zip(taken, free, strict=True) for key in pair]
    answers = await bench.grant(*(bench.claim(key) for key in keys))
    for key, answer in zip(keys, answers, strict=True):
        assert isinstance(answer, Lock) is (key in free)
        if isinstance(answer, Lock):
            assert answer.activity_key == key


async def test_an_empty_batch_is_answered_empty(bench: Bench) -> None:
    assert await bench.grant() == []
    assert await bench.begin() == []
    assert await bench.commit() == []
    assert await bench.abort() == []
    assert await bench.release() == []
    assert await bench.events() == []


async def test_a_batch_of_a_thousand_is_granted_with_tokens_of_their_own(bench: Bench) -> None:
    claims = [bench.claim(bench.key()) for _ in range(1000)]
    answers = await bench.grant(*claims)
    locks = [each for each in answers if isinstance(each, Lock)]
    assert [each.reference for each in locks] == [each.request.reference for each in claims]
    assert len({each.token for each in locks}) == len({each.lock_id for each in locks}) == 1000


async def test_an_expired_held_lock_in_the_way_of_a_grant_is_swept(bench: Bench) -> None:
    key = bench.key()
    stale = await bench.held(bench.claim(key))
    await bench.expire(stale)
    lock = await bench.held(bench.claim(key, registry="gec"))
    assert await bench.state(stale) is LockState.EXPIRED
    assert [(each.kind, each.lock_id) for each in await bench.events()] == [
        (EventKind.LOCK_GRANTED, stale.lock_id),
        (EventKind.LOCK_EXPIRED, stale.lock_id),
        (EventKind.LOCK_GRANTED, lock.lock_id),
    ]


async def test_every_expired_lock_in_the_way_is_swept_though_the_grant_is_refused(bench: Bench) -> None:
    key = bench.key()
    stale = [await bench.held(bench.claim(key, bench.period(day))) for day in (0, 1)]
    live = await bench.held(bench.claim(key, bench.period(2)))
    aside = await bench.held(bench.claim(key, bench.period(9)))
    await bench.expire(*stale, aside)
    obstacles = await bench.refused(bench.claim(key, bench.period(0, 3)))
    assert [each.lock_id for each in obstacles] == [live.lock_id]
    assert [await bench.state(each) for each in stale] == [LockState.EXPIRED] * 2
    assert await bench.state(aside) is LockState.HELD, "what is not in the way is the sweeper's"


async def test_one_batch_sweeps_and_grants_many(bench: Bench) -> None:
    keys = [bench.key() for _ in range(20)]
    stale = [each for each in await bench.grant(*(bench.claim(key) for key in keys)) if isinstance(each, Lock)]
    await bench.expire(*stale)
    answers = await bench.grant(*(bench.claim(key) for key in keys))
    assert all(isinstance(each, Lock) for each in answers)


async def test_an_expired_lock_is_no_obstacle_to_those_who_ask(bench: Bench) -> None:
    key = bench.key()
    await bench.expire(await bench.held(bench.claim(key)))
    async with bench.store.reading() as reader:
        assert await reader.obstacles([bench.claim(key)]) == [[]]


async def test_a_grant_whose_time_is_over_at_once_is_stale_at_once(bench: Bench) -> None:
    key = bench.key()
    await bench.held(bench.claim(key, ttl_s=0))
    await bench.held(bench.claim(key))


async def test_an_issuing_lock_never_times_out_to_free(bench: Bench) -> None:
    key = bench.key()
    lock = await bench.issuing(bench.claim(key, ttl_s=600))
    await bench.expire(lock)
    assert [each.state for each in await bench.refused(bench.claim(key))] == [LockState.ISSUING]
    assert await bench.store.expire_stale(limit=10) == 0
    assert await bench.state(lock) is LockState.ISSUING


async def test_an_issued_lock_with_an_expired_supplement_stands_in_the_way(bench: Bench) -> None:
    key = bench.key()
    issued = await bench.issued(bench.claim(key))
    await bench.expire(await bench.supplemented(issued))
    assert [each.state for each in await bench.refused(bench.claim(key, registry="gec"))] == [LockState.ISSUED]


@pytest.mark.parametrize("ending", ["release", "abort"])
async def test_an_ended_lock_leaves_its_outcome_free(bench: Bench, ending: str) -> None:
    key = bench.key()
    if ending == "release":
        await bench.release(ref(await bench.held(bench.claim(key))))
    else:
        await bench.abort(bench.abortion(await bench.issuing(bench.claim(key))))
    await bench.held(bench.claim(key, registry="gec"))


async def test_tokens_rise_per_activity_over_grants_and_supplements(bench: Bench) -> None:
    key = bench.key()
    tokens = []
    for day in range(3):
        stale = await bench.held(bench.claim(key, bench.period(day)))
        await bench.expire(stale)
        issued = await bench.issued(bench.claim(key, bench.period(day)))
        supplement = await bench.supplemented(issued)
        tokens += [stale.token, issued.token, supplement.token]
    assert tokens == sorted(set(tokens))


async def test_locks_near_are_the_live_ones_that_touch_or_overlap(bench: Bench) -> None:
    key, other = bench.key(), bench.key()
    locks = {day: await bench.held(bench.claim(key, bench.period(day))) for day in (0, 1, 2, 3, 5)}
    released = await bench.held(bench.claim(key, bench.period(4)))
    await bench.release(ref(released))
    issued = await bench.issued(bench.claim(key, bench.period(4), registry="gec"))
    await bench.held(bench.claim(other, bench.period(2)))
    async with bench.store.transaction() as transaction:
        near, none, alone = await transaction.locks_near(
            [(key, bench.period(2, 4)), (bench.key(), bench.period(2)), (key, bench.period(6, 7))]
        )
    assert [each.lock_id for each in near] == [
        *(locks[day].lock_id for day in (1, 2, 3)),
        issued.lock_id,
    ]
    assert none == []
    assert [each.lock_id for each in alone] == [locks[5].lock_id]


async def test_locks_are_listed_by_number_and_narrowed(bench: Bench) -> None:
    key = bench.key()
    first = await bench.held(bench.claim(key, bench.period(0)))
    second = await bench.issued(bench.claim(key, bench.period(1), registry="gec"))
    third = await bench.held(bench.claim(bench.key(), bench.period(1)))

    async def listed(after: int = 0, limit: int = 10, **narrowed: object) -> list[int]:
        wanted = dict.fromkeys(("activity_key", "registry", "state", "period")) | narrowed
        async with bench.store.reading() as reader:
            return [each.lock_id for each in await reader.list_locks(**wanted, after=after, limit=limit)]

    assert await listed() == [first.lock_id, second.lock_id, third.lock_id]
    assert await listed(limit=2) == [first.lock_id, second.lock_id]
    assert await listed(after=first.lock_id) == [second.lock_id, third.lock_id]
    assert await listed(activity_key=key) == [first.lock_id, second.lock_id]
    assert await listed(registry="ccer") == [first.lock_id, third.lock_id]
    assert await listed(state=LockState.ISSUED) == [second.lock_id]
    assert await listed(period=bench.period(1, 2)) == [second.lock_id, third.lock_id]
    assert await listed(period=bench.period(2, 3)) == []
    assert await listed(activity_key=key, registry="ccer", state=LockState.HELD, period=bench.period(0)) == [
        first.lock_id
    ]


async def test_a_lock_that_does_not_exist_is_not_found(bench: Bench) -> None:
    lock = await bench.held(bench.claim(bench.key()))
    async with bench.store.reading() as reader:
        assert await reader.lock(type(lock.lock_id)(lock.lock_id + 1)) is None
