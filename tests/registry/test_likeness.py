"""What adapters tell of a plant: another registry's name for it is found by likeness alone, or goes to a person."""

import math

import pytest

from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb
from soleclaim.api.lookup.v1 import review_service_pb2 as review_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import LookupClient
from soleclaim.core.errors import Reason
from soleclaim.registry.grpc.convert import to_description
from soleclaim.registry.native import PlantDescription
from soleclaim.rpc.status import from_status
from tests.registry.stack import Process, Stack, ask, file_at_ccer, file_at_gec


@pytest.mark.parametrize(
    ("number", "place", "code"),
    [
        ("1500000000000001001", "汕尾甲子", {"projectCode": "2401-440000-44-01-001001"}),
        ("1500000000000001002", "阳江沙扒", {}),
    ],
    ids=["another code", "no code at all"],
)
async def test_what_gec_issued_is_refused_to_ccer_under_another_name_and_number(
    stack: Stack, adapters: list[Process], number: str, place: str, code: dict[str, str]
) -> None:
    """No key in common: likeness alone joins them."""
    filing = f"FDWD2407150{number[-6:]}"
    file_at_gec(stack, filing, f"{place}一期海上风电", capacityMw="500")
    file_at_ccer(stack, number, f"中广核{place}一期500兆瓦海上风电场项目", capacityMw="500", **code)
    adapters += [stack.adapter("gec"), stack.adapter("ccer")]
    async with stack.dial(adapters[0]) as gec, stack.dial(adapters[1]) as ccer:
        green = await ask(gec, f"green-{number}", filing)
        assert green.state == pb.ISSUANCE_STATE_ISSUED
        credit = await ask(ccer, f"credit-{number}", number)
    assert credit.state == pb.ISSUANCE_STATE_REFUSED
    assert from_status(credit.error).reason is Reason.ACTIVITY_ALREADY_ISSUED
    assert credit.activity == green.activity


async def test_a_plant_with_no_key_and_nothing_like_it_is_registered(
    stack: Stack, adapters: list[Process], lookup: LookupClient
) -> None:
    number = "1500000000000001003"
    file_at_ccer(stack, number, "国家电投揭阳神泉一（二）海上风电项目", capacityMw="91")
    adapters.append(stack.adapter("ccer"))
    async with stack.dial(adapters[0]) as ccer:
        credit = await ask(ccer, "credit-1003", number)
    assert credit.state == pb.ISSUANCE_STATE_ISSUED
    activity = await lookup.call(lookup.activities.GetActivity, activity_pb.GetActivityRequest(name=credit.activity))
    assert list(activity.identifiers) == []


async def test_a_likeness_that_leaves_a_doubt_goes_to_a_person(
    stack: Stack, adapters: list[Process], lookup: LookupClient
) -> None:
    """Phase two of the same name and another size: 450 MW here, 750 MW there."""
    filing, number = "FDWD2407150001004", "1500000000000001004"
    file_at_gec(stack, filing, "惠州港口二期海上风电", capacityMw="750")
    file_at_ccer(stack, number, "中广核惠州港口二期PA450兆瓦海上风电项目", capacityMw="450")
    adapters += [stack.adapter("gec"), stack.adapter("ccer")]
    async with stack.dial(adapters[0]) as gec, stack.dial(adapters[1]) as ccer:
        green = await ask(gec, "green-1004", filing)
        credit = await ask(ccer, "credit-1004", number)
    refusal = from_status(credit.error)
    assert (credit.state, refusal.reason) == (pb.ISSUANCE_STATE_UNDER_REVIEW, Reason.IDENTITY_UNDER_REVIEW)
    name = f"reviewCases/{refusal.variables['case']}"
    case = await lookup.call(lookup.reviews.GetReviewCase, review_pb.GetReviewCaseRequest(name=name))
    assert [each.activity.name for each in case.candidates] == [green.activity]
    assert credit.reference not in await stack.native_references("ccer")


def test_what_the_lookup_would_refuse_is_left_out_of_a_description() -> None:
    """A project must not become unusable for a field that only describes it."""
    faulty = PlantDescription(
        name_local="长" * 257, owner="某公司\u200b", owner_local=" 某公司", capacity_kw=10**9 + 1,
        position=(math.nan, 1.0), commissioning_year=20_210, region="广" * 129,
    )  # fmt: skip
    assert to_description(faulty) == activity_pb.PlantDescription()
    fit = PlantDescription("长" * 256, "00000", "某公司", 10**9, (22.5, 115.9), 2021, "广东省")
    sent = to_description(fit)
    assert (sent.name_local, sent.owner, sent.owner_local) == (fit.name_local, "00000", "某公司")
    assert (sent.capacity_kw, sent.commissioning_year, sent.region) == (10**9, 2021, "广东省")
    assert (sent.position.latitude, sent.position.longitude) == fit.position
