"""What a service read before it wrote may have changed meanwhile: the rules hold all the same."""

import asyncio

import pytest

from soleclaim.core.errors import DomainError, Reason
from soleclaim.lookup.domain import Activity, Claim
from soleclaim.lookup.ports import Reader, Transaction
from soleclaim.lookup.service import activities, locks, measured
from soleclaim.policy.bundle import default_bundle
from tests.lookup.conftest import Bench

pytestmark = pytest.mark.timeout(120)


async def test_a_commit_between_the_look_and_the_grant_does_not_free_the_outcome_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bench.kind == "sqlite":
        pytest.skip("SQLite has one writer: no commit can come between")
    key = await bench.activity(bench.project(registry="ccer"))
    period = bench.period(0, 30)
    async with bench.store.transaction() as transaction:
        await transaction.record_outcomes([bench.outcome(key, period, 10_000, unit="kgCO2e")])
    lock = await bench.issuing(bench.claim(key, period, units=10))
    looked = measured.exceeding
    commits = 0

    async def then_somebody_commits(
        reader: Reader, claims: list[Claim], *, hold: Transaction | None = None
    ) -> list[DomainError | None]:
        nonlocal commits
        answer = await looked(reader, claims, hold=hold)
        if not commits:
            commits += 1
            bench.done(await bench.commit(bench.commitment(lock)))
        return answer

    monkeypatch.setattr(locks, "exceeding", then_somebody_commits)
    async with bench.store.transaction() as transaction:
        (answer,) = await locks.acquire(transaction, default_bundle(), [bench.claim(key, period, units=10).request])
    assert commits == 1
    assert isinstance(answer, DomainError)
    assert answer.reason is Reason.OUTCOME_EXHAUSTED


async def test_two_registrations_that_contradict_each_other_do_not_both_join(bench: Bench) -> None:
    shared = ("cn_project_code", "2509-320193-89-01-544060")
    key = await bench.activity(bench.project(shared))
    first_read = asyncio.Event()

    async def register(registry: str, meter: str) -> Activity | DomainError:
        project = bench.project(shared, ("metering_point", meter), registry=registry)
        answers: list[Activity | DomainError] = []

        async def work(transaction: Transaction) -> bytes:
            answers[:] = await activities.register(transaction, [project])
            first_read.set()
            await asyncio.sleep(0.2)  # the other one comes while this one is not committed
            return b""

        await bench.store.once(bench.request_key(), work)
        return answers[0]

    async def later() -> Activity | DomainError:
        await first_read.wait()
        return await register("gec", "BBBBBBBB2")

    answers = await asyncio.gather(register("ccer", "AAAAAAAA1"), later())
    refused = [each for each in answers if isinstance(each, DomainError)]
    assert [each.reason for each in refused] == [Reason.IDENTITY_UNDER_REVIEW]
    async with bench.store.reading() as reader:
        identifiers = (await reader.activities([key]))[key].identifiers
    assert [scheme for scheme, _ in identifiers].count("metering_point") == 1
