"""Random operations against a model of a few plain lists: SQLite, PostgreSQL and the model answer alike.

``SOLECLAIM_MODEL_OPERATIONS`` (per store) and ``SOLECLAIM_MODEL_SEED`` may be set; a failure tells its seed.
"""

import os
import random
import secrets
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.serials import UnitBlock, first_overlap
from soleclaim.lookup.domain import (
    WHOLE,
    Abortion,
    Claim,
    Commitment,
    EventKind,
    Evidence,
    EvidenceKind,
    GrantRef,
    Lock,
    LockId,
    LockState,
    Obstacle,
    Slice,
    Token,
)
from soleclaim.lookup.ports import Moved, RequestKey, SerialConflict
from soleclaim.lookup.store.transaction import SqlTransaction
from tests.lookup.conftest import DAY_0, Bench

OPERATIONS: Final = int(os.environ.get("SOLECLAIM_MODEL_OPERATIONS", "20000"))
SEED: Final = int(os.environ.get("SOLECLAIM_MODEL_SEED", "0")) or secrets.randbits(32)
"""One for both stores, so that both meet the same operations."""

HELD, ISSUING, ISSUED, RELEASED, EXPIRED, ABORTED = (
    LockState.HELD, LockState.ISSUING, LockState.ISSUED, LockState.RELEASED, LockState.EXPIRED, LockState.ABORTED,
)  # fmt: skip
LIVE: Final = (HELD, ISSUING, ISSUED)
REGISTRIES: Final = ("ccer", "gec", "arb")
ATTRIBUTES: Final = ((1,), (2,), (1, 2), (1, 2), (3,))
DAYS: Final = 30
ACTIVITIES: Final = 20
LOCKS_PER_EPOCH: Final = 500
"""Then come new activities: the old ones fill up."""


@dataclass(frozen=True, slots=True)
class Box:
    """What a claim takes of its activity: days, slice, attributes."""

    key: ActivityKey
    days: range
    within: range
    attributes: frozenset[int]

    @classmethod
    def of(cls, claim: Claim) -> "Box":
        """Whole days, as all periods here."""
        request = claim.request
        days = range((request.period.start - DAY_0).days, (request.period.end - DAY_0).days)
        return cls(
            request.activity_key, days, range(request.slice.start, request.slice.end), frozenset(claim.attributes)
        )

    def meets(self, other: "Box") -> bool:
        return (
            self.key == other.key
            and self.days.start < other.days.stop
            and other.days.start < self.days.stop
            and self.within.start < other.within.stop
            and other.within.start < self.within.stop
            and bool(self.attributes & other.attributes)
        )


@dataclass
class ModelLock:
    """What is known of a lock. ``number`` counts grants; ``waits``: a grant waits to begin; ``stale``: too long."""

    number: int
    claim: Claim
    box: Box
    state: LockState = HELD
    waits: bool = True
    stale: bool = False
    supplement: bool = False
    units: int = 0
    reference: str = ""
    issued: list[tuple[str, int, str, tuple[UnitBlock, ...]]] = field(default_factory=list)
    history: list[EventKind] = field(default_factory=list)
    lock_id: LockId = field(default=LockId(0))
    tokens: list[Token] = field(default_factory=list)
    """As the store gave them."""

    def facts(self) -> tuple[Any, ...]:
        return (self.state, self.waits, self.supplement, self.units, self.reference,
                sum(units for _, units, _, _ in self.issued), len(self.issued))  # fmt: skip


def facts(lock: Lock) -> tuple[Any, ...]:
    """Of a lock in the store, what ``ModelLock.facts`` tells."""
    return (lock.state, lock.expire_time is not None, lock.supplement, lock.units, lock.reference, lock.issued_units,
            lock.issuance_count)  # fmt: skip


class Model:
    """The rules of the design, said as shortly as possible."""

    def __init__(self) -> None:
        self.locks: list[ModelLock] = []
        self.live: dict[ActivityKey, list[ModelLock]] = defaultdict(list)
        self.serials: dict[tuple[str, str], list[UnitBlock]] = defaultdict(list)
        self.native_ids: set[tuple[str, str]] = set()

    def in_the_way(self, claim: Claim) -> list[ModelLock]:
        box = Box.of(claim)
        return [each for each in self.live[box.key] if each.box.meets(box)]

    def end(self, lock: ModelLock, state: LockState) -> None:
        lock.state = state
        self.live[lock.claim.request.activity_key].remove(lock)

    def expire(self, locks: Iterable[ModelLock]) -> int:
        stale = [each for each in locks if each.state is HELD and each.stale]
        for each in stale:
            self.end(each, EXPIRED)
            each.waits = False
            each.history.append(EventKind.LOCK_EXPIRED)
        return len(stale)

    def grant(self, claims: Sequence[Claim]) -> list[ModelLock | list[ModelLock]]:
        answers: dict[int, ModelLock | list[ModelLock]] = {}
        lost = [i for i, claim in enumerate(claims) if self.in_the_way(claim)]
        won = [i for i in range(len(claims)) if i not in lost]
        for i in lost:
            self.expire(self.in_the_way(claims[i]))
            obstacles = self.in_the_way(claims[i])
            if obstacles:
                answers[i] = obstacles
        for i in [*won, *(i for i in lost if i not in answers)]:
            request = claims[i].request
            lock = ModelLock(
                len(self.locks), claims[i], Box.of(claims[i]), units=request.units, reference=request.reference
            )
            lock.history.append(EventKind.LOCK_GRANTED)
            self.locks.append(lock)
            self.live[request.activity_key].append(lock)
            answers[i] = lock
        return [answers[i] for i in range(len(claims))]

    def supplement(self, lock: ModelLock, claim: Claim) -> bool:
        if lock.state is not ISSUED or (lock.waits and not lock.stale):
            return False
        lock.waits, lock.stale, lock.supplement = True, False, True
        lock.units, lock.reference = claim.request.units, claim.request.reference
        lock.history.append(EventKind.SUPPLEMENT_GRANTED)
        return True

    def begin(self, lock: ModelLock) -> bool:
        if lock.state not in (HELD, ISSUED) or not lock.waits or lock.stale:
            return False
        lock.state, lock.waits = ISSUING, False
        lock.history.append(EventKind.ISSUANCE_BEGUN)
        return True

    def release(self, lock: ModelLock) -> bool:
        if lock.state not in (HELD, ISSUED) or not lock.waits:
            return False
        if lock.state is HELD:
            self.end(lock, RELEASED)
        lock.waits = lock.stale = lock.supplement = False
        lock.history.append(EventKind.LOCK_RELEASED)
        return True

    def abort(self, lock: ModelLock) -> bool:
        if lock.state is not ISSUING:
            return False
        if lock.issued:
            lock.state = ISSUED
        else:
            self.end(lock, ABORTED)
        lock.supplement = False
        lock.history.append(EventKind.ISSUANCE_ABORTED)
        return True

    def commit(self, lock: ModelLock, native_id: str, blocks: tuple[UnitBlock, ...]) -> bool | str:
        """Whether it was done; the series where serials or id are taken."""
        registry, units = lock.claim.request.registry, sum(each.count for each in blocks)
        if lock.state is not ISSUING or units != lock.units:
            return False
        taken = any(
            block.start <= other.end and other.start <= block.end
            for block in blocks
            for other in self.serials[registry, block.series]
        )
        if taken or (registry, native_id) in self.native_ids:
            return blocks[0].series
        for block in blocks:
            self.serials[registry, block.series].append(block)
        self.native_ids.add((registry, native_id))
        lock.state, lock.supplement = ISSUED, False
        lock.issued.append((native_id, units, lock.reference, blocks))
        lock.history.append(EventKind.ISSUANCE_COMMITTED)
        return True


class GaveUpError(Exception):
    """The work is thrown away on purpose."""


class Run:
    """One sequence of random operations on one store and on the model."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.random = random.Random(seed)
        self.model = Model()
        self.by_id: dict[LockId, ModelLock] = {}
        self.last_token: dict[ActivityKey, Token] = {}
        self.answered: list[tuple[RequestKey, bytes]] = []
        self.keys: list[ActivityKey] = []
        self.next_serial = 1
        self.native_ids: list[str] = []
        self.operations = 0
        self.done: Counter[str] = Counter()

    async def go(self, operations: int) -> None:
        verbs: dict[Callable[[], Awaitable[int]], int] = {
            self.grant: 30, self.begin: 20, self.commit: 14, self.abort: 9, self.release: 7, self.supplement: 7,
            self.expire: 6, self.sweep: 1, self.repeat: 3, self.give_up: 2,
        }  # fmt: skip
        while self.operations < operations:
            [verb] = self.random.choices(list(verbs), list(verbs.values()))
            count = await verb()
            self.operations += count
            self.done[verb.__name__] += count
        await self.compare_all()

    # Choosing

    def size(self) -> int:
        return self.random.choice((1, 2, 10, 50, 150))

    def claims(self) -> list[Claim]:
        if len(self.model.locks) >= len(self.keys) // ACTIVITIES * LOCKS_PER_EPOCH:
            self.keys += [ActivityKey(self.random.getrandbits(60)) for _ in range(ACTIVITIES)]
        chosen: list[Claim] = []
        boxes: list[Box] = []
        for _ in range(self.size()):
            start = self.random.randrange(DAYS)
            cut = sorted(self.random.sample(range(20), 2))
            claim = self.bench.claim(
                self.random.choice(self.keys[-ACTIVITIES:]),
                self.bench.period(start, start + self.random.choice((1, 1, 1, 2, 3, 10))),
                registry=self.random.choice(REGISTRIES),
                attributes=self.random.choice(ATTRIBUTES),
                within=WHOLE if self.random.random() < 0.7 else Slice(*cut),
                units=self.random.randint(1, 30),
            )
            box = Box.of(claim)
            if not any(box.meets(each) for each in boxes):
                chosen.append(claim)
                boxes.append(box)
        return chosen

    def some(self, *states: LockState) -> list[ModelLock]:
        """Different locks: most in the right state, some in any."""
        recent = self.model.locks[-3 * LOCKS_PER_EPOCH :]
        right = [each for each in recent if each.state in states]
        count = self.size()
        chosen = self.random.sample(right, min(count, len(right)))
        chosen += self.random.sample(recent, min(count // 10, len(recent)))
        return list({each.number: each for each in chosen}.values())

    def grants(self, locks: Sequence[ModelLock]) -> list[tuple[ModelLock | None, GrantRef]]:
        """Each with what the holder presents; ``None`` where that does not fit."""
        presented: list[tuple[ModelLock | None, GrantRef]] = []
        for each in locks:
            grant = GrantRef(each.claim.request.registry, each.lock_id, each.tokens[-1])
            chance = self.random.random()
            if chance < 0.03:
                presented.append((None, grant._replace(token=Token(self.random.choice((*each.tokens[:-1], 0))))))
            elif chance < 0.05:
                presented.append((None, grant._replace(registry="other")))
            elif chance < 0.06:
                presented.append((None, grant._replace(lock_id=LockId(-grant.lock_id))))
            else:
                presented.append((each, grant))
        return presented

    # Doing

    async def once(self, work: Callable[[SqlTransaction], Awaitable[Any]]) -> Any:
        """As a request; its answer can be asked for again later."""
        key = self.bench.request_key()
        result: list[Any] = []

        async def kept(transaction: SqlTransaction) -> bytes:
            result[:] = [await work(transaction)]
            return repr(result[0]).encode()

        answer = await self.bench.store.once(key, kept)
        self.answered.append((key, answer))
        return result[0]

    def take_token(self, lock: ModelLock, token: Token) -> None:
        key = lock.claim.request.activity_key
        assert token > self.last_token.get(key, 0), "tokens rise per activity"
        self.last_token[key] = token
        lock.tokens.append(token)

    async def grant(self) -> int:
        claims = self.claims()
        answers: list[Lock | list[Obstacle]] = await self.once(lambda transaction: transaction.grant(claims))
        expected = self.model.grant(claims)
        granted = [(lock, mine) for lock, mine in zip(answers, expected, strict=True) if isinstance(lock, Lock)]
        for lock, mine in sorted(granted, key=lambda pair: pair[0].token):
            assert isinstance(mine, ModelLock), (lock, mine)
            mine.lock_id = lock.lock_id
            self.by_id[lock.lock_id] = mine
            self.take_token(mine, lock.token)
            assert facts(lock) == mine.facts()
        for answer, mine in zip(answers, expected, strict=True):
            if isinstance(answer, list):
                assert isinstance(mine, list), (answer, mine)
                told = [(-each.state, each.period) for each in answer]
                assert told == sorted(told), "ISSUED before ISSUING before HELD, then by period"
                assert {self.obstacle(each) for each in answer} == {
                    (each.number, each.state, each.claim.request.registry, each.claim.request.period,
                     each.claim.request.slice, each.waits)
                    for each in mine
                }  # fmt: skip
                assert len(answer) == len(mine)
        return len(claims)

    def obstacle(self, told: Obstacle) -> tuple[Any, ...]:
        number = self.by_id[told.lock_id].number
        return (number, told.state, told.registry, told.period, told.slice, told.expire_time is not None)

    async def supplement(self) -> int:
        pairs = []
        for each in self.some(ISSUED)[:10]:  # one statement after the other
            reference = f"supplement-{self.random.getrandbits(60)}"
            request = each.claim.request._replace(units=self.random.randint(1, 30), reference=reference)
            pairs.append((each, each.claim._replace(request=request)))
        answers = await self.once(
            lambda transaction: in_turn(transaction.grant_supplement(each.lock_id, claim) for each, claim in pairs)
        )
        for (each, claim), answer in zip(pairs, answers, strict=True):
            assert self.model.supplement(each, claim) is (answer is not None)
            if answer is not None:
                self.take_token(each, answer.token)
                assert facts(answer) == each.facts()
        return len(pairs)

    async def move(
        self, verb: str, presented: Sequence[tuple[ModelLock | None, GrantRef]], items: Sequence[Any], *details: Any
    ) -> int:
        answers: list[Moved | SerialConflict] = await self.once(lambda transaction: getattr(transaction, verb)(items))
        for i, (answer, (mine, _)) in enumerate(zip(answers, presented, strict=True)):
            expected = getattr(self.model, verb)(mine, *(each[i] for each in details)) if mine else False
            if isinstance(answer, SerialConflict):
                assert answer.series == expected
            else:
                assert answer.done is expected
                if mine:
                    assert answer.lock is not None
                    assert facts(answer.lock) == mine.facts()
        return len(items)

    async def begin(self) -> int:
        presented = self.grants(self.some(HELD, HELD, HELD, ISSUED))
        return await self.move("begin", presented, [grant for _, grant in presented])

    async def release(self) -> int:
        presented = self.grants(self.some(HELD)[:10] + self.some_waiting())
        presented = list({grant.lock_id: (mine, grant) for mine, grant in presented}.values())
        return await self.move("release", presented, [grant for _, grant in presented])

    def some_waiting(self) -> list[ModelLock]:
        return [each for each in self.some(ISSUED) if each.waits]

    async def abort(self) -> int:
        presented = self.grants(self.some(ISSUING))
        evidence = Evidence(EvidenceKind.NATIVE_REFUSED, "refused")
        return await self.move("abort", presented, [Abortion(grant, evidence) for _, grant in presented])

    async def commit(self) -> int:
        locks = self.some(ISSUING)
        presented = self.grants(locks)
        native_ids = [self.native_id() for _ in locks]
        blocks = [self.blocks(each) for each in locks]
        items = [
            Commitment(grant, native_id, each)
            for (_, grant), native_id, each in zip(presented, native_ids, blocks, strict=True)
        ]
        return await self.move("commit", presented, items, native_ids, blocks)

    def native_id(self) -> str:
        """Fresh, seldom one that was used."""
        if self.native_ids and self.random.random() < 0.02:
            return self.random.choice(self.native_ids)
        self.native_ids.append(f"native-{len(self.native_ids)}")
        return self.native_ids[-1]

    def blocks(self, lock: ModelLock) -> tuple[UnitBlock, ...]:
        """Serials of the lock's units, seldom of other units; fresh ones, seldom such as may be taken."""
        units = lock.units if self.random.random() < 0.95 else lock.units + 1
        cut = self.random.randint(0, units - 1)
        found = []
        for count in (cut, units - cut):
            start = self.next_serial
            self.next_serial += count + self.random.randint(0, 2)
            if self.random.random() < 0.03:
                start = self.random.randint(0, start)
            if count:
                found.append(UnitBlock(self.random.choice("AB"), start, start + count - 1))
        self.random.shuffle(found)
        return tuple(found) if first_overlap(found) is None else (found[0],)

    async def expire(self) -> int:
        """Time passes for some grants that wait."""
        waiting = [each for each in self.some(HELD, ISSUED) if each.waits]
        if waiting:
            numbers = ", ".join(str(each.lock_id) for each in waiting)
            await self.bench.sql(f"UPDATE issuance_lock SET expire_us = 1 WHERE lock_id IN ({numbers})")  # noqa: S608
        for each in waiting:
            each.stale = True
        return len(waiting)

    async def sweep(self) -> int:
        swept = await self.bench.store.expire_stale(limit=100_000)
        assert swept == self.model.expire([each for locks in list(self.model.live.values()) for each in list(locks)])
        return swept

    async def repeat(self) -> int:
        """Earlier requests again, the last one for sure: the first answer, and no work."""
        if not self.answered:
            return 0
        chosen = [self.answered[-1], *self.random.choices(self.answered, k=2)]
        for key, answer in chosen:
            assert await self.bench.store.once(key, never) == answer
        return len(chosen)

    async def give_up(self) -> int:
        """Work that is done and then thrown away: the model never hears of it."""
        claims, locks = self.claims(), self.some(HELD)
        grants = [grant for _, grant in self.grants(locks)]

        async def work(transaction: SqlTransaction) -> bytes:
            await transaction.grant(claims)
            await transaction.begin(grants)
            raise GaveUpError

        try:
            await self.bench.store.once(self.bench.request_key(), work)
        except GaveUpError:
            return len(claims) + len(grants)
        raise AssertionError("the failure of the work was swallowed")

    # Comparing

    async def compare_all(self) -> None:
        """Every lock, issuance and history entry of the store with the model's."""
        stored = await self.bench.locks()
        assert {each.lock_id for each in stored} == {each.lock_id for each in self.model.locks}
        for lock in stored:
            mine = self.by_id[lock.lock_id]
            request = mine.claim.request
            assert facts(lock) == mine.facts()
            assert (lock.registry, lock.activity_key) == (request.registry, request.activity_key)
            assert (lock.period, lock.slice, lock.token) == (request.period, request.slice, mine.tokens[-1])
        async with self.bench.store.reading() as reader:
            ledger = await reader.issuances([each.lock_id for each in stored])
        for mine in self.model.locks:
            told = [
                (each.native_issuance_id, each.units, each.reference, tuple(sorted(each.blocks)))
                for each in ledger.get(mine.lock_id, [])
            ]
            assert told == [(*rest, tuple(sorted(blocks))) for *rest, blocks in mine.issued]
        history: dict[int, list[EventKind]] = defaultdict(list)
        for event in await self.bench.events():
            assert event.lock_id is not None
            history[self.by_id[event.lock_id].number].append(event.kind)
        assert history == {each.number: each.history for each in self.model.locks}
        for locks in self.model.live.values():
            for i, one in enumerate(locks):
                assert not any(one.box.meets(other.box) for other in locks[:i])
        live = await self.bench.sql("SELECT lock_id FROM segment WHERE live")
        assert {self.by_id[lock_id].number for (lock_id,) in live} == {
            each.number for each in self.model.locks if each.state in LIVE
        }


async def never(_transaction: SqlTransaction) -> bytes:
    raise AssertionError("a repeat runs no work")


async def in_turn(works: Iterable[Awaitable[Any]]) -> list[Any]:
    return [await each for each in works]


@pytest.mark.timeout(600)  # twenty seconds on a machine that has nothing else to do
async def test_the_stores_answer_as_the_model_does(bench: Bench) -> None:
    run = Run(bench, SEED)
    try:
        await run.go(OPERATIONS)
    except BaseException as error:
        error.add_note(f"operation {run.operations} on {bench.kind}; repeat with SOLECLAIM_MODEL_SEED={SEED}")
        raise
    states = Counter(each.state for each in run.model.locks)
    assert set(states) == set(LockState) or OPERATIONS < 5000, f"every state was visited: {states} {run.done}"


def test_the_model_itself_keeps_the_rule() -> None:
    """A model that granted everything would agree with a store that does."""
    model, bench = Model(), Bench("sqlite", "", None, None)  # type: ignore[arg-type]
    key = ActivityKey(1)
    [first] = model.grant([bench.claim(key, bench.period(0, 2))])
    assert isinstance(first, ModelLock)
    assert model.grant([bench.claim(key, bench.period(1, 3))]) == [[first]]
    assert isinstance(model.grant([bench.claim(key, bench.period(2, 3))])[0], ModelLock)
