"""32 clients of two registries want the same 2,000 activity-months: one winner each, none lost (issue section 8.3)."""

import asyncio
import contextlib
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from soleclaim.api.common.v1.types_pb2 import UnitBlock
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as lock_pb2
from soleclaim.client import RemoteRefusal, RemoteUnavailable
from soleclaim.core.errors import Reason
from tests.wire.conftest import (
    CCER,
    GEC,
    LOOKUP,
    Party,
    Wire,
    fresh,
    items_of,
    lookup_process,
    month,
    refused,
    to_begin,
    to_commit,
    told,
    ttl,
    wish,
)

CLIENTS: Final = 32
ACTIVITIES, MONTHS = 200, 10
ASKED_BY: Final = 4
"""How many clients, half of each registry, ask for one month."""
BATCH: Final = 125
SINGLE: Final = 50
"""Every so manyth month is asked for by a call of its own."""
UNITS: Final = 3

Spot = tuple[str, int]
"""Activity and number of the month."""


@dataclass
class Outcomes:
    """What all clients were told."""

    granted: dict[Spot, list[tuple[Party, lock_pb2.IssuanceLock]]] = field(default_factory=lambda: defaultdict(list))
    refused: dict[Spot, list[tuple[str, RemoteRefusal]]] = field(default_factory=lambda: defaultdict(list))

    def note(self, party: Party, spot: Spot, result: Any) -> None:
        if result.HasField("error"):
            self.refused[spot].append((party.code, told(result.error)))
        else:
            self.granted[spot].append((party, result.lock))


async def insist(party: Party, method: str, request: Any) -> Any:
    """As a careful client does: when nothing is known, the same request again."""
    for _ in range(20):
        try:
            return await party.client.call(getattr(party.client.locks, method), request, timeout_s=30)
        except RemoteUnavailable:
            continue
    raise AssertionError(f"{method} had no answer")


async def ask(party: Party, spots: Sequence[Spot], outcomes: Outcomes) -> None:
    """Batches first, then some months by calls of their own."""
    singles = spots[::SINGLE]
    rest = [each for i, each in enumerate(spots) if i % SINGLE]
    for start in range(0, len(rest), BATCH):
        part = rest[start : start + BATCH]
        wishes = [wish(party.code, activity, month(number), units=UNITS) for activity, number in part]
        batch = lock_pb2.BatchAcquireIssuanceLocksRequest(request_id=fresh(), requests=items_of(*wishes))
        answer = await insist(party, "BatchAcquireIssuanceLocks", batch)
        for spot, result in zip(part, answer.results, strict=True):
            outcomes.note(party, spot, result)
    for activity, number in singles:
        result = lock_pb2.IssuanceLockResult()
        request = wish(party.code, activity, month(number), units=UNITS)
        try:
            result.lock.CopyFrom(await insist(party, "AcquireIssuanceLock", request))
        except RemoteRefusal as refusal:
            outcomes.refused[activity, number].append((party.code, refusal))
        else:
            outcomes.note(party, (activity, number), result)


def shares(spots: Sequence[Spot], seed: int) -> list[list[Spot]]:
    """The months each client asks for, each in an order of its own."""
    chance = random.Random(seed)
    lists: list[list[Spot]] = [[] for _ in range(CLIENTS)]
    half = CLIENTS // 2
    for spot in spots:
        for first in (0, half):
            for client in chance.sample(range(first, first + half), ASKED_BY // 2):
                lists[client].append(spot)
    for each in lists:
        chance.shuffle(each)
    return lists


async def race(wire: Wire) -> Outcomes:
    """Every client starts at once."""
    activities = await wire.activities(ACTIVITIES)
    spots = [(activity, number) for activity in activities for number in range(MONTHS)]
    parties = [await wire.new_party(GEC if i < CLIENTS // 2 else CCER) for i in range(CLIENTS)]
    outcomes = Outcomes()
    await asyncio.gather(
        *(ask(party, mine, outcomes) for party, mine in zip(parties, shares(spots, seed=2), strict=True))
    )
    assert set(outcomes.granted) == set(spots)
    return outcomes


def connections_to(port: int) -> int:
    """Established on loopback, as the kernel counts them."""
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return sum(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "01" for line in lines)


async def finish(wire: Wire, outcomes: Outcomes) -> None:
    """Every winner goes on to issue, in batches of its registry."""
    for caller in (CCER, GEC):
        party = await wire.new_party(caller)
        locks = [lock for winners in outcomes.granted.values() for who, lock in winners if who.code == caller.code]
        for start in range(0, len(locks), 1000):
            part = locks[start : start + 1000]
            serials = [(start + i) * UNITS for i in range(len(part))]
            begins = items_of(*map(to_begin, part))
            commits = items_of(
                *(
                    to_commit(lock, UnitBlock(series="S", start=first, end=first + UNITS - 1))
                    for lock, first in zip(part, serials, strict=True)
                )
            )
            for method, batch in (
                ("BatchBeginIssuances", lock_pb2.BatchBeginIssuancesRequest(request_id=fresh(), requests=begins)),
                ("BatchCommitIssuances", lock_pb2.BatchCommitIssuancesRequest(request_id=fresh(), requests=commits)),
            ):
                answer = await insist(party, method, batch)
                assert all(each.HasField("lock") for each in answer.results)


def assert_one_winner_each(wire: Wire, outcomes: Outcomes) -> None:
    """By what the clients were told, and then by the store in plain SQL."""
    total = ACTIVITIES * MONTHS
    assert {len(each) for each in outcomes.granted.values()} == {1}
    assert sum(map(len, outcomes.refused.values())) == total * (ASKED_BY - 1)
    for spot, refusals in outcomes.refused.items():
        ((winner, _),) = outcomes.granted[spot]
        for _, refusal in refusals:
            assert refusal.reason is Reason.ISSUANCE_LOCK_HELD, refusal
            assert (refusal.variables["registry"], refusal.variables["state"]) == (winner.code, "HELD")
    both = Counter(party.code for winners in outcomes.granted.values() for party, _ in winners)
    assert min(both.values()) > 0, both
    told_locks = {
        (int(lock.name.partition("/")[2]), lock.fencing_token, party.code)
        for winners in outcomes.granted.values()
        for party, lock in winners
    }
    stored = wire.sql("SELECT lock_id, token, registry FROM issuance_lock")
    assert set(map(tuple, stored)) == told_locks
    assert len(stored) == total
    assert wire.sql("SELECT count(*) FROM segment WHERE live") == [(total,)]
    assert wire.sql(
        "SELECT count(*) FROM (SELECT DISTINCT activity_key, period_start_us FROM segment WHERE live) AS spot"
    ) == [(total,)]
    assert wire.sql(
        "SELECT count(*) FROM segment a JOIN segment b ON a.activity_key = b.activity_key AND a.lock_id < b.lock_id "
        "WHERE a.live AND b.live AND a.period_start_us < b.period_end_us AND b.period_start_us < a.period_end_us"
    ) == [(0,)]
    # One history entry per grant, its number the token; tokens of one activity are all different.
    assert wire.sql("SELECT count(*) FROM history_entry h JOIN issuance_lock l ON l.lock_id = h.lock_id "
                    "AND h.kind = 5 AND h.entry_id = l.token") == [(total,)]  # fmt: skip


def assert_issued_once_each(wire: Wire) -> None:
    total = ACTIVITIES * MONTHS
    assert wire.sql("SELECT count(*), min(issued_units), max(issued_units) FROM issuance_lock WHERE state = 3") == [
        (total, UNITS, UNITS)
    ]
    assert wire.sql("SELECT count(*), count(DISTINCT lock_id) FROM issuance") == [(total, total)]
    (counted,) = wire.sql("SELECT sum(end_serial - start_serial + 1) FROM unit_block")
    assert int(counted[0]) == total * UNITS


async def test_each_month_has_one_winner_and_none_is_lost(own_wire: Wire) -> None:
    outcomes = await race(own_wire)
    assert connections_to(own_wire.port) >= CLIENTS
    assert_one_winner_each(own_wire, outcomes)
    await finish(own_wire, outcomes)
    assert_issued_once_each(own_wire)


@pytest.mark.postgres
async def test_each_month_has_one_winner_with_two_worker_processes(store_url_of: Any, certificates: Path) -> None:
    url = store_url_of("postgres", own=True)
    async with contextlib.AsyncExitStack() as stack:
        wire = Wire("postgres", url, certificates, stack)
        command = await stack.enter_async_context(lookup_process(url, wire.files(LOOKUP), "--workers", "2"))
        wire.port = int(command.address.rpartition(":")[2])
        outcomes = await race(wire)
        assert connections_to(wire.port) >= CLIENTS
        assert_one_winner_each(wire, outcomes)
        await finish(wire, outcomes)
        assert_issued_once_each(wire)


async def test_one_supplement_at_a_time_is_open_on_a_lock(wire: Wire, gec: Party) -> None:
    parties = [await wire.new_party(GEC) for _ in range(6)]
    for activity in await wire.activities(10, GEC):
        first = await gec.issued(activity, units=1)
        answers = await asyncio.gather(*(party.acquire(activity, units=1) for party in parties), return_exceptions=True)
        won = [each for each in answers if isinstance(each, lock_pb2.IssuanceLock)]
        lost = [each for each in answers if isinstance(each, RemoteRefusal)]
        assert (len(won), len(lost)) == (1, len(parties) - 1)
        assert {each.reason for each in lost} == {Reason.ISSUANCE_LOCK_HELD}
        assert won[0].fencing_token > first.fencing_token
        await gec.commit(await gec.begin(won[0]))
        stored = await gec.get(first)
        assert [each.units for each in stored.issuances] == [1, 1]


async def test_supplements_of_two_clients_never_issue_more_than_was_measured(wire: Wire, gec: Party) -> None:
    parties = [await wire.new_party(GEC) for _ in range(4)]
    activity = await wire.activity(GEC)
    await gec.record(activity, 10_000)
    await gec.issued(activity, units=1)

    async def supplement(party: Party) -> int:
        done = 0
        for _ in range(8):
            with contextlib.suppress(RemoteRefusal):
                await party.issued(activity, units=1)
                done += 1
        return done

    supplements = sum(await asyncio.gather(*map(supplement, parties)))
    lock = await gec.acquire(activity, units=9 - supplements) if supplements < 9 else None
    if lock is not None:
        await gec.commit(await gec.begin(lock))
    await refused(gec.acquire(activity, units=1), Reason.OUTCOME_EXHAUSTED)
    (listed,) = (await gec("ListIssuanceLocks", lock_pb2.ListIssuanceLocksRequest(activity=activity))).issuance_locks
    assert sum(each.units for each in listed.issuances) == 10
    tokens = [each.fencing_token for each in listed.issuances]
    assert tokens == sorted(set(tokens))


async def test_begin_and_a_grant_after_expiry_never_both_go_through(wire: Wire, ccer: Party, gec: Party) -> None:
    """The first holder begins at the moment its lock ends while another registry asks for the month."""
    activities = await wire.activities(12)
    locks = [await ccer.acquire(activity, ttl=ttl(1)) for activity in activities]

    async def begin(lock: lock_pb2.IssuanceLock, pause_s: float) -> Any:
        await asyncio.sleep(pause_s)
        return await ccer.begin(lock)

    async def take_over(activity: str) -> Any:
        while True:
            try:
                return await gec.acquire(activity)
            except RemoteRefusal as refusal:
                if refusal.variables["state"] == "ISSUING":
                    return refusal
            await asyncio.sleep(0.01)

    pauses = [0.5 + 0.06 * i for i in range(len(locks))]
    begun = await asyncio.gather(*map(begin, locks, pauses), *map(take_over, activities), return_exceptions=True)
    firsts, seconds = begun[: len(locks)], begun[len(locks) :]
    for lock, first, second in zip(locks, firsts, seconds, strict=True):
        if isinstance(first, RemoteRefusal):
            assert first.reason is Reason.LOCK_EXPIRED
            assert isinstance(second, lock_pb2.IssuanceLock)
            assert second.fencing_token > lock.fencing_token
            await refused(ccer.commit(lock), Reason.LOCK_EXPIRED)
        else:
            assert isinstance(first, lock_pb2.IssuanceLock), first
            assert isinstance(second, RemoteRefusal), second
            await ccer.commit(lock)


async def test_begin_of_two_clients_moves_a_lock_once(wire: Wire, ccer: Party) -> None:
    parties = [ccer, await wire.new_party(CCER)]
    for activity in await wire.activities(10, CCER):
        lock = await ccer.acquire(activity)
        answers = await asyncio.gather(
            parties[0].begin(lock), parties[1].begin(lock), parties[1].release(lock), return_exceptions=True
        )
        won = [each for each in answers if isinstance(each, lock_pb2.IssuanceLock)]
        assert len(won) == 1
        assert {each.reason for each in answers if isinstance(each, RemoteRefusal)} == {Reason.LOCK_STATE_WRONG}
