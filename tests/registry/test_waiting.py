"""Requests that meet an open review case wait, are told why, and go on by themselves: on whole adapters."""

import asyncio
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from soleclaim.api.lookup.v1 import review_service_pb2 as review_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import LookupClient, RegistryClient, RemoteUnavailable
from soleclaim.core.errors import Reason
from soleclaim.rpc.parse import to_interval
from soleclaim.rpc.status import from_status
from tests.registry.stack import MARCH, SETTLE_S, Process, Stack, ask, file_at_ccer, file_at_gec

if TYPE_CHECKING:
    from soleclaim.api.lookup.v1.review_service_pb2 import ReviewDecisionKind

SAME, DIFFERENT, PART_OF = (
    review_pb.REVIEW_DECISION_KIND_SAME,
    review_pb.REVIEW_DECISION_KIND_DIFFERENT,
    review_pb.REVIEW_DECISION_KIND_PART_OF,
)


class Pair:
    """One plant or two? GEC's filing and CCER's project are alike in name and differ in size: a person has to tell."""

    def __init__(self, stack: Stack, number: int, place: str) -> None:
        self.filing, self.project = f"FDWD2407150{number:06d}", f"150000000000000{number:04d}"
        self.number = number
        file_at_gec(stack, self.filing, f"{place}二期海上风电", capacityMw="750")
        file_at_ccer(stack, self.project, f"中广核{place}二期PA450兆瓦海上风电项目", capacityMw="450")

    async def issue_at_gec(self, gec: RegistryClient) -> pb.Issuance:
        green = await ask(gec, f"green-{self.number}", self.filing)
        assert green.state == pb.ISSUANCE_STATE_ISSUED
        return green

    async def ask_ccer(self, ccer: RegistryClient) -> pb.Issuance:
        """The same request, every time."""
        return await ask(ccer, f"credit-{self.number}", self.project)

    async def wait_at_ccer(self, ccer: RegistryClient) -> pb.Issuance:
        credit = await self.ask_ccer(ccer)
        assert credit.state == pb.ISSUANCE_STATE_UNDER_REVIEW
        return credit


def case_of(issuance: pb.Issuance) -> str:
    return f"reviewCases/{from_status(issuance.error).variables['case']}"


async def decide(
    lookup: LookupClient, issuance: pb.Issuance, kind: "ReviewDecisionKind.ValueType", activity: str = ""
) -> None:
    case = case_of(issuance)
    request = review_pb.DecideReviewCaseRequest(
        request_id=f"decide-{case.partition('/')[2]}", name=case, kind=kind, activity=activity, reason="现场核实"
    )
    decided = await lookup.call(lookup.reviews.DecideReviewCase, request)
    assert decided.state == review_pb.REVIEW_CASE_STATE_DECIDED


async def gone_on(client: RegistryClient, issuance: pb.Issuance) -> pb.Issuance:
    """The issuance when it waits no more; nobody repeats the request."""
    async with asyncio.timeout(SETTLE_S):
        while True:
            now: pb.Issuance = await client.call(client.registry.GetIssuance, pb.GetIssuanceRequest(name=issuance.name))
            if now.state in (pb.ISSUANCE_STATE_ISSUED, pb.ISSUANCE_STATE_REFUSED):
                return now
            await asyncio.sleep(0.1)


async def test_it_is_told_what_it_waits_for_and_nothing_is_sent(
    stack: Stack, adapters: list[Process], lookup: LookupClient
) -> None:
    pair = Pair(stack, 2001, "惠州港口")
    adapters += [stack.adapter("gec"), stack.adapter("ccer")]
    async with stack.dial(adapters[0]) as gec, stack.dial(adapters[1]) as ccer:
        green = await pair.issue_at_gec(gec)
        credit = await pair.wait_at_ccer(ccer)
        why = from_status(credit.error)
        assert why.reason is Reason.IDENTITY_UNDER_REVIEW
        case = await lookup.call(lookup.reviews.GetReviewCase, review_pb.GetReviewCaseRequest(name=case_of(credit)))
        assert [each.activity.name for each in case.candidates] == [green.activity]
        assert (credit.activity, credit.issuance_lock, credit.fencing_token) == ("", "", 0)
        # The repeat of the request, and the CLI, tell how it stands: it waits.
        again = await pair.ask_ccer(ccer)
        assert (again.name, again.state, again.error) == (credit.name, credit.state, credit.error)
        found = await ccer.call(
            ccer.registry.ListIssuances, pb.ListIssuancesRequest(state=pb.ISSUANCE_STATE_UNDER_REVIEW)
        )
        assert [each.name for each in found.issuances] == [credit.name]
        assert credit.reference not in await stack.native_references("ccer")
        assert case_of(credit).partition("/")[2] in listed_by_the_command_line(stack)


def listed_by_the_command_line(stack: Stack) -> str:
    tls = stack.certificates["desk"]
    arguments = [
        "issue", "list", "--registry", "ccer", "--state", "UNDER_REVIEW", "--lookup", stack.lookup.target,
        "--authority", str(tls.authority), "--certificate", str(tls.certificate), "--key", str(tls.key),
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "soleclaim.cmd.main", *arguments], check=True, capture_output=True, text=True
    )
    assert "under review" in " ".join(done.stdout.split())
    return done.stdout


async def test_same_means_what_the_other_registry_has_issued(
    stack: Stack, adapters: list[Process], lookup: LookupClient
) -> None:
    pair = Pair(stack, 2002, "揭阳神泉")
    adapters += [stack.adapter("gec"), stack.adapter("ccer")]
    async with stack.dial(adapters[0]) as gec, stack.dial(adapters[1]) as ccer:
        green = await pair.issue_at_gec(gec)
        credit = await pair.wait_at_ccer(ccer)
        await decide(lookup, credit, SAME, green.activity)
        credit = await gone_on(ccer, credit)
        assert credit.state == pb.ISSUANCE_STATE_REFUSED
        assert from_status(credit.error).reason is Reason.ACTIVITY_ALREADY_ISSUED
        assert credit.activity == green.activity
        assert await pair.ask_ccer(ccer) == credit
        assert credit.reference not in await stack.native_references("ccer")


@pytest.mark.parametrize(("number", "place", "kind"), [(2003, "汕头勒门", DIFFERENT), (2004, "湛江徐闻", PART_OF)])
async def test_another_plant_or_a_part_of_it_is_issued(
    stack: Stack,
    adapters: list[Process],
    lookup: LookupClient,
    number: int,
    place: str,
    kind: "ReviewDecisionKind.ValueType",
) -> None:
    pair = Pair(stack, number, place)
    adapters += [stack.adapter("gec"), stack.adapter("ccer")]
    async with stack.dial(adapters[0]) as gec, stack.dial(adapters[1]) as ccer:
        green = await pair.issue_at_gec(gec)
        credit = await pair.wait_at_ccer(ccer)
        await decide(lookup, credit, kind, green.activity if kind == PART_OF else "")
        credit = await gone_on(ccer, credit)
        assert (credit.state, credit.units) == (pb.ISSUANCE_STATE_ISSUED, 9)
        assert credit.activity not in ("", green.activity)
        assert not credit.HasField("error")
        assert (await stack.native_references("ccer")).count(credit.reference) == 1
        assert await pair.ask_ccer(ccer) == credit


@pytest.mark.parametrize(("number", "place", "kind"), [(2005, "阳江沙扒", DIFFERENT), (2006, "珠海桂山", SAME)])
async def test_the_candidate_waits_too_and_goes_on_whatever_is_decided(
    stack: Stack,
    adapters: list[Process],
    lookup: LookupClient,
    number: int,
    place: str,
    kind: "ReviewDecisionKind.ValueType",
) -> None:
    """CCER's registration opened a case on what GEC has registered and not yet issued for."""
    pair = Pair(stack, number, place)
    adapters += [stack.adapter("gec"), stack.adapter("ccer")]
    async with stack.dial(adapters[0]) as gec, stack.dial(adapters[1]) as ccer:
        # Registered only: for want of a declaration nothing is issued.
        undeclared = pb.RequestIssuanceRequest(
            request_id=f"plain-{number}", native_project_id=pair.filing, period=to_interval(MARCH)
        )
        known = await gec.call(gec.registry.RequestIssuance, undeclared)
        assert from_status(known.error).reason is Reason.POLICY_REFUSED
        credit = await pair.wait_at_ccer(ccer)
        green = await ask(gec, f"green-{number}", pair.filing)
        assert (green.state, case_of(green)) == (pb.ISSUANCE_STATE_UNDER_REVIEW, case_of(credit))
        assert (green.activity, green.issuance_lock) == (known.activity, "")
        await decide(lookup, credit, kind, known.activity if kind == SAME else "")
        green, credit = await asyncio.gather(gone_on(gec, green), gone_on(ccer, credit))
    states = sorted(pb.IssuanceState.Name(each.state) for each in (green, credit))
    one_of_them = ["ISSUANCE_STATE_ISSUED", "ISSUANCE_STATE_REFUSED"]
    assert states == (one_of_them if kind == SAME else ["ISSUANCE_STATE_ISSUED"] * 2)
    assert (green.activity == credit.activity) is (kind == SAME)


@pytest.mark.parametrize(("number", "place", "twin"), [(2007, "汕尾后湖", False), (2008, "惠州粤电", True)])
async def test_it_goes_on_under_another_process(
    stack: Stack, adapters: list[Process], lookup: LookupClient, number: int, place: str, *, twin: bool
) -> None:
    """The adapter is killed while it waits: it is started again, or its twin takes over."""
    pair = Pair(stack, number, place)
    adapters += [stack.adapter("gec"), stack.adapter("ccer", lease_s=1.5)]
    async with stack.dial(adapters[0]) as gec, stack.dial(adapters[1]) as ccer:
        await pair.issue_at_gec(gec)
        credit = await pair.wait_at_ccer(ccer)
        if twin:
            adapters.append(stack.adapter("ccer", lease_s=1.5))
        adapters[1].popen.send_signal(signal.SIGKILL)
        adapters[1].ended()
    await decide(lookup, credit, DIFFERENT)
    if not twin:
        adapters.append(stack.adapter("ccer", lease_s=1.5))
    async with stack.dial(adapters[-1]) as ccer:
        credit = await gone_on(ccer, credit)
        assert credit.state == pb.ISSUANCE_STATE_ISSUED
    assert (await stack.native_references("ccer")).count(credit.reference) == 1


async def test_after_the_longest_wait_it_is_refused_and_a_decision_comes_too_late(
    stack: Stack, adapters: list[Process], lookup: LookupClient
) -> None:
    pair = Pair(stack, 2009, "潮州饶平")
    adapters += [stack.adapter("gec"), stack.adapter("ccer", review_wait_s=1)]
    async with stack.dial(adapters[0]) as gec, stack.dial(adapters[1]) as ccer:
        await pair.issue_at_gec(gec)
        credit = await gone_on(ccer, await pair.wait_at_ccer(ccer))
        assert credit.state == pb.ISSUANCE_STATE_REFUSED
        assert from_status(credit.error).reason is Reason.IDENTITY_UNDER_REVIEW
        await decide(lookup, credit, DIFFERENT)
        assert await pair.ask_ccer(ccer) == credit
        # The way on is a new request.
        later = await ask(ccer, "credit-2009-again", pair.project)
        assert later.state == pb.ISSUANCE_STATE_ISSUED


async def found_at(client: RegistryClient, activity: str) -> list[int]:
    """What a registry tells another of the month."""
    request = pb.FindIssuancesRequest(activity=activity, period=to_interval(MARCH))
    return [each.state for each in (await client.call(client.registry.FindIssuances, request, timeout_s=3)).issuances]


async def test_others_are_told_of_an_issuance_by_whatever_id_its_activity_has(
    stack: Stack, adapters: list[Process], lookup: LookupClient
) -> None:
    """Issued, then merged into an activity of another registry, then split off again."""
    pair = Pair(stack, 2010, "茂名电白")
    adapters += [stack.adapter("gec"), stack.adapter("ccer")]
    async with stack.dial(adapters[0]) as gec, stack.dial(adapters[1]) as ccer:
        undeclared = pb.RequestIssuanceRequest(
            request_id="plain-2010", native_project_id=pair.filing, period=to_interval(MARCH)
        )
        other = (await gec.call(gec.registry.RequestIssuance, undeclared)).activity
        credit = await pair.wait_at_ccer(ccer)
        case = case_of(credit)
        await decide(lookup, credit, DIFFERENT)
        credit = await gone_on(ccer, credit)
    async with stack.dial(adapters[1], "gec") as asker:
        issued = [pb.ISSUANCE_STATE_ISSUED]
        assert (await found_at(asker, credit.activity), await found_at(asker, other)) == (issued, [])
        await merge(stack, lookup, case, into=other)
        assert (await found_at(asker, credit.activity), await found_at(asker, other)) == (issued, issued)
        await split(stack, lookup, other, restore=credit.activity)
        assert (await found_at(asker, credit.activity), await found_at(asker, other)) == (issued, [])
        # While the lookup does not tell which ids these are, the answer is not "nothing".
        stack.lookup.popen.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(RemoteUnavailable):
                await found_at(asker, other)
        finally:
            stack.lookup.popen.send_signal(signal.SIGCONT)


async def merge(stack: Stack, lookup: LookupClient, case: str, *, into: str) -> None:
    """Two operators say that it was one plant after all."""
    reopen = review_pb.ReopenReviewCaseRequest(request_id="reopen-2010", name=case, reason="又有新证据")
    await lookup.call(lookup.reviews.ReopenReviewCase, reopen)
    same = review_pb.DecideReviewCaseRequest(
        request_id="same-2010", name=case, kind=SAME, activity=into, reason="现场核实"
    )
    await lookup.call(lookup.reviews.DecideReviewCase, same)
    async with LookupClient(stack.lookup.target, stack.certificates["second"]) as second:
        confirm = review_pb.ConfirmReviewDecisionRequest(request_id="confirm-2010", name=case, reason="现场核实")
        await second.call(second.reviews.ConfirmReviewDecision, confirm)


async def split(stack: Stack, lookup: LookupClient, activity: str, *, restore: str) -> None:
    request = review_pb.SplitActivityRequest(
        request_id="split-2010", activity=activity, restore=restore, reason="合并有误"
    )
    proposed = await lookup.call(lookup.reviews.SplitActivity, request)
    async with LookupClient(stack.lookup.target, stack.certificates["second"]) as second:
        confirm = review_pb.ConfirmActivitySplitRequest(request_id="split-2011", name=proposed.name, reason="合并有误")
        await second.call(second.reviews.ConfirmActivitySplit, confirm)
