"""What is particular to the green certificate centre."""

from typing import TYPE_CHECKING, Any

import pytest

from soleclaim.core.serials import UnitBlock
from soleclaim.natives.civil import CHINA, period_of_month
from soleclaim.registry.native import NativeIssuance, NativeRefusal, NativeUnknown

if TYPE_CHECKING:
    from tests.natives.conftest import Bench
else:
    Bench = Any


@pytest.fixture
def kind() -> str:
    return "gec"


async def test_void_of_a_used_reference_shows_the_issuance_and_voids_nothing(bench: Bench) -> None:
    issuance = await bench.issued("lock-1:1")
    assert await bench.native.void("lock-1:1") == issuance
    assert await bench.native.find("lock-1:1") == issuance


async def test_void_can_be_repeated_after_an_unclear_answer(bench: Bench) -> None:
    bench.fault("cut_connection", "/api/v1/references/void", after_work=True)
    with pytest.raises(Exception, match="voiding reference lock-1:1"):
        await bench.native.void("lock-1:1")
    assert await bench.native.void("lock-1:1") is None


async def test_batch_has_an_answer_per_order(bench: Bench) -> None:
    orders = [
        bench.order("lock-1:1", units=1_000),
        bench.order("lock-2:1", period=bench.unmeasured),
        bench.order("lock-3:1", units=235),
        bench.order("lock-4:1", period=period_of_month("2025-02", CHINA), units=5),
        bench.order("lock-5:1", units=234),
    ]
    issued, unmeasured, too_many, other_month, rest = await bench.native.issue(orders)
    assert isinstance(issued, NativeIssuance)
    assert isinstance(unmeasured, NativeRefusal)
    assert isinstance(too_many, NativeRefusal)
    assert isinstance(other_month, NativeIssuance)
    assert isinstance(rest, NativeIssuance)
    assert (unmeasured.code, too_many.code) == ("NOT_MEASURED", "EXCEEDS_READING")
    assert issued.blocks == (UnitBlock("FDWD2407150000123202503-1T", 1, 1_000),)
    assert rest.blocks == (UnitBlock("FDWD2407150000123202503-1T", 1_001, 1_234),)
    assert other_month.blocks == (UnitBlock("FDWD2407150000123202502-1T", 1, 5),)
    assert await bench.listed() == [issued, other_month, rest]


async def test_order_answered_twice_is_unknown_and_the_others_are_not(bench: Bench) -> None:
    bench.fault("duplicate_rows", bench.paths.issue)
    first, second = await bench.native.issue([bench.order("lock-1:1"), bench.order("lock-2:1")])
    assert isinstance(first, NativeUnknown)
    assert isinstance(second, NativeIssuance)


async def test_order_without_an_answer_is_unknown_and_the_others_are_not(bench: Bench) -> None:
    bench.fault("lost_rows", bench.paths.issue)
    first, second = await bench.native.issue([bench.order("lock-1:1"), bench.order("lock-2:1")])
    assert isinstance(first, NativeIssuance)
    assert isinstance(second, NativeUnknown)
    assert await bench.native.find("lock-2:1") is not None


async def test_order_that_is_no_month_is_refused_while_the_rest_is_unclear(bench: Bench) -> None:
    two_months = type(bench.period)(period_of_month("2025-02", CHINA).start, bench.period.end)
    bench.fault("html_200", bench.paths.issue)
    refused, unknown = await bench.native.issue([bench.order("lock-1:1", period=two_months), bench.order("lock-2:1")])
    assert isinstance(refused, NativeRefusal)
    assert isinstance(unknown, NativeUnknown)


async def test_two_orders_of_one_reference_in_a_batch_are_a_mistake_of_the_caller(bench: Bench) -> None:
    with pytest.raises(ValueError, match="its own reference"):
        await bench.native.issue([bench.order("lock-1:1"), bench.order("lock-1:1")])


async def test_not_found_by_a_proxy_is_no_answer_of_the_registry(bench: Bench) -> None:
    with pytest.raises(Exception, match="project no/such/route"):
        await bench.native.get_project("no/such/route")
