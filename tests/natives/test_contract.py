"""The contract of the port ``NativeRegistry``, on every client, over HTTP, with every fault."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from soleclaim.core.period import Period
from soleclaim.core.serials import first_overlap, total
from soleclaim.natives import KINDS, NativeSettings, open_native
from soleclaim.parts.examples import DESKS
from soleclaim.registry.native import (
    AbsenceProof,
    NativeRefusal,
    NativeUnavailable,
    NativeUnknown,
    PlantDescription,
)

if TYPE_CHECKING:
    from tests.natives.conftest import Bench
else:
    Bench = Any  # the fixtures' module is not importable by name when pytest runs

SPOILED = ["error_500", "html_200", "truncated_json", "cut_connection"]
LATE_S = 0.8
"""Longer than the client waits and the question in between takes."""


# --- reading ---------------------------------------------------------------------------------------------


async def test_project_is_described_in_the_words_of_the_port(bench: Bench) -> None:
    project = await bench.native.get_project(bench.project_id)
    assert project is not None
    assert (project.native_project_id, project.country) == (bench.project_id, "CN")
    activity_type = {"ets": "thermal_power", "local": "solar"}.get(bench.kind, "wind")
    assert (project.activity_type, project.time_zone) == (activity_type, "Asia/Shanghai")
    assert ("cn_project_code", "2509-320193-89-01-544060") in project.identifiers
    assert "甲子一期" in project.name
    owner = {"ets": "汕尾甲子一期热电厂"}.get(bench.kind, "中广核汕尾新能源有限公司")
    assert project.description == PlantDescription(owner=owner, capacity_kw=501_500, region="广东省")


async def test_unknown_project_is_none(bench: Bench) -> None:
    unknown = bench.project_id[:-1] + "9"
    assert await bench.native.get_project(unknown) is None
    assert await bench.native.get_outcome(unknown, bench.period) is None


async def test_outcome_is_stated_for_exactly_its_period(bench: Bench) -> None:
    outcome = await bench.native.get_outcome(bench.project_id, bench.period)
    assert outcome is not None
    expected = {"gec": ("kWh", 1_233_500, 700)}.get(bench.kind, ("kgCO2e", 1_234_000, 0))
    assert (outcome.base_unit, outcome.quantity, outcome.carried_in) == expected
    assert (outcome.native_project_id, outcome.period) == (bench.project_id, bench.period)
    shifted = Period(bench.period.start + timedelta(hours=8), bench.period.end + timedelta(hours=8))
    longer = Period(bench.period.start, bench.period.end + timedelta(days=1))
    for other in (shifted, longer, bench.unmeasured):
        assert await bench.native.get_outcome(bench.project_id, other) is None


async def test_reference_never_used_is_not_found(bench: Bench) -> None:
    assert await bench.native.find("lock-never:1") is None


# --- issuing ---------------------------------------------------------------------------------------------


async def test_issuance_is_answered_found_and_listed_alike(bench: Bench) -> None:
    issuance = await bench.issued("lock-1:7", units=10, token=7)
    assert issuance.period == bench.period
    assert (issuance.units, issuance.fencing_token) == (10, 7)
    assert total(issuance.blocks) == 10
    assert await bench.native.find("lock-1:7") == issuance
    assert await bench.listed() == [issuance]


async def test_supplements_share_the_outcome_and_no_serial(bench: Bench) -> None:
    first = await bench.issued("lock-1:1", units=1_000)
    second = await bench.issued("lock-1:2", units=234)
    assert first_overlap(first.blocks + second.blocks) is None
    [refusal] = await bench.native.issue([bench.order("lock-1:3", units=1)])
    assert isinstance(refusal, NativeRefusal)
    assert await bench.listed() == [first, second]


async def test_concurrent_calls_keep_their_own_answers(bench: Bench) -> None:
    issued = await asyncio.gather(*(bench.issued(f"lock-{n}:1", units=n + 1) for n in range(20)))
    assert [issuance.units for issuance in issued] == list(range(1, 21))
    assert first_overlap(block for issuance in issued for block in issuance.blocks) is None
    assert sorted(await bench.listed(), key=lambda issuance: issuance.units) == issued


async def test_more_orders_than_a_call_takes_is_a_mistake_of_the_caller(bench: Bench) -> None:
    orders = [bench.order(f"lock-{n}:1") for n in range(bench.native.capabilities.max_batch + 1)]
    with pytest.raises(ValueError, match=r"order"):
        await bench.native.issue(orders)
    assert await bench.native.issue([]) == []


@pytest.mark.parametrize("case", ["unknown project", "not measured", "too many", "not civil", "malformed"])
async def test_refusal_leaves_nothing_behind(bench: Bench, case: str) -> None:
    shifted = Period(bench.period.start + timedelta(hours=8), bench.period.end + timedelta(hours=8))
    order, lasting = {
        "unknown project": (bench.order("r", native_project_id=bench.project_id[:-1] + "9"), False),
        "not measured": (bench.order("r", period=bench.unmeasured), False),
        "too many": (bench.order("r", units=1_235), bench.kind == "ccer"),
        "not civil": (bench.order("r", period=shifted), True),
        "malformed": (bench.order("r", units=0), True),
    }[case]
    [refusal] = await bench.native.issue([order])
    assert isinstance(refusal, NativeRefusal), refusal
    assert refusal.lasting is lasting
    assert refusal.message
    assert await bench.native.find("r") is None
    assert await bench.listed() == []


async def test_token_older_than_one_seen_is_refused_for_good(bench: Bench) -> None:
    await bench.issued("lock-1:8", token=8)
    [refusal] = await bench.native.issue([bench.order("lock-1:7", token=7)])
    assert isinstance(refusal, NativeRefusal)
    assert (refusal.code, refusal.lasting) == ("STALE_TOKEN", True)


async def test_a_guarded_reference_stands_for_one_order(bench: Bench) -> None:
    if bench.native.capabilities.absence_proof is AbsenceProof.SEARCH_TWICE:
        return  # does not guard references; what then happens stands in its own tests
    first = await bench.issued("lock-1:1", units=10)
    assert await bench.issued("lock-1:1", units=10) == first
    [result] = await bench.native.issue([bench.order("lock-1:1", units=11)])
    assert isinstance(result, NativeUnknown), "something exists under this reference, so it is no refusal"
    assert "REFERENCE_REUSED" in result.detail
    assert await bench.listed() == [first]


# --- faults while issuing --------------------------------------------------------------------------------


@pytest.mark.parametrize("after_work", [False, True])
@pytest.mark.parametrize("fault", [*SPOILED, "others_answer", "timeout"])
async def test_unclear_answer_is_unknown_and_the_call_is_sent_once(
    bench: Bench, fault: str, *, after_work: bool
) -> None:
    other = await bench.issued("lock-other:1")
    native = bench.native
    if fault == "timeout":
        native = bench.hasty
        bench.fault("timeout_after_work" if after_work else "timeout_before_work", bench.paths.issue)
    else:
        bench.fault(fault, bench.paths.issue, after_work=after_work)
    [result] = await native.issue([bench.order("lock-1:1")])
    assert isinstance(result, NativeUnknown), result
    assert result.detail.startswith("lock-1:1: ")
    [shown] = bench.http.get("/_faults").json()["faults"]
    assert shown["hits"] == 1
    found = await bench.native.find("lock-1:1")
    assert (found is not None) is after_work
    assert await bench.listed() == ([other, found] if found else [other])


async def test_slow_answer_within_the_limit_is_an_answer(bench: Bench) -> None:
    bench.fault("slow", bench.paths.issue, delay_s=0.2)
    assert (await bench.issued("lock-1:1")).units == 10


async def test_registry_that_is_down_is_unknown_when_issuing_and_unavailable_when_reading(bench: Bench) -> None:
    # Port 9 is the discard service, which nobody runs.
    native = bench.open("http://127.0.0.1:9", timeout_s=0.5)
    [result] = await native.issue([bench.order("lock-1:1")])
    assert isinstance(result, NativeUnknown)
    with pytest.raises(NativeUnavailable):
        await native.find("lock-1:1")
    await native.close()


async def test_not_found_is_not_yet_absent_while_a_call_is_late(bench: Bench) -> None:
    bench.fault("late_work", bench.paths.issue, delay_s=LATE_S)
    [result] = await bench.hasty.issue([bench.order("lock-1:1")])
    assert isinstance(result, NativeUnknown)
    assert await bench.native.find("lock-1:1") is None
    if bench.native.capabilities.absence_proof is AbsenceProof.VOID:
        # The tombstone comes before the late call and stops it: absent for good.
        assert await bench.native.void("lock-1:1") is None
    await asyncio.sleep(LATE_S)
    late = await bench.native.find("lock-1:1")
    if bench.native.capabilities.absence_proof is AbsenceProof.VOID:
        assert late is None
        assert await bench.listed() == []
    else:
        # The second search, after the longest time under way, is the one that counts; or the same order again.
        if bench.native.capabilities.absence_proof is AbsenceProof.RESEND:
            assert await bench.issued("lock-1:1") == late
        assert late is not None
        assert await bench.listed() == [late]


# --- faults while reading --------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [*SPOILED, "timeout_before_work"])
async def test_unclear_read_says_nothing_about_what_exists(bench: Bench, fault: str) -> None:
    await bench.issued("lock-1:1")
    native = bench.hasty if fault == "timeout_before_work" else bench.native
    reads: dict[str, Callable[[], Awaitable[object]]] = {
        bench.paths.project: lambda: native.get_project(bench.project_id),
        bench.paths.outcome: lambda: native.get_outcome(bench.project_id, bench.period),
        bench.paths.find: lambda: native.find("lock-1:1"),
        bench.paths.listing: lambda: anext(native.list_issuances()),
    }
    for path, read in reads.items():
        bench.fault(fault, path, after_work=fault == "truncated_json")
        with pytest.raises(NativeUnavailable):
            await read()
        bench.clear_faults()
    assert await bench.listed() == [await bench.native.find("lock-1:1")]


async def test_somebody_elses_answer_is_not_believed(bench: Bench) -> None:
    issuance = await bench.issued("lock-1:1")
    assert await bench.native.find("lock-never:1") is None
    bench.fault("others_answer", bench.paths.find)
    with pytest.raises(NativeUnavailable):
        await bench.native.find("lock-1:1")
    assert await bench.native.find("lock-1:1") == issuance
    bench.fault("others_answer", bench.paths.find)
    with pytest.raises(NativeUnavailable):
        await bench.native.find("lock-never:1")


async def test_duplicate_rows_are_listed_once(bench: Bench) -> None:
    issued = [await bench.issued(f"lock-{n}:1") for n in range(5)]
    bench.fault("duplicate_rows", bench.paths.listing, times=-1)
    assert await bench.listed() == issued


async def test_lost_row_is_noticed(bench: Bench) -> None:
    for n in range(5):
        await bench.issued(f"lock-{n}:1")
    bench.fault("lost_rows", bench.paths.listing, times=-1)
    with pytest.raises(NativeUnavailable, match="5 issuances announced, 4"):
        await bench.listed()


async def test_clamped_pages_lose_nothing(bench: Bench) -> None:
    issued = [await bench.issued(f"lock-{n}:1") for n in range(5)]
    bench.fault("clamped_pages", bench.paths.listing, times=-1)
    assert await bench.listed() == issued


async def test_page_size_that_changes_on_the_way_is_noticed(bench: Bench) -> None:
    for n in range(5):
        await bench.issued(f"lock-{n}:1")
    bench.fault("clamped_pages", bench.paths.listing, times=1)
    with pytest.raises(NativeUnavailable, match="5 issuances announced, 2"):
        await bench.listed()


async def test_more_than_a_page_is_listed_whole(bench: Bench) -> None:
    orders = [bench.order(f"lock-{n}:1", units=1) for n in range({"gec": 203}.get(bench.kind, 52))]
    step = bench.native.capabilities.max_batch
    issued = [result for n in range(0, len(orders), step) for result in await bench.native.issue(orders[n : n + step])]
    assert await bench.listed() == issued


# --- voiding ---------------------------------------------------------------------------------------------


async def test_void_is_final_or_impossible(bench: Bench) -> None:
    if bench.native.capabilities.absence_proof is not AbsenceProof.VOID:
        with pytest.raises(NativeUnavailable, match="cannot void"):
            await bench.native.void("lock-1:1")
        return
    assert await bench.native.void("lock-1:1") is None
    assert await bench.native.void("lock-1:1") is None
    assert await bench.native.find("lock-1:1") is None
    [refusal] = await bench.native.issue([bench.order("lock-1:1")])
    assert isinstance(refusal, NativeRefusal)
    assert (refusal.code, refusal.lasting) == ("REFERENCE_VOIDED", True)


async def test_capabilities_are_as_configured(bench: Bench) -> None:
    capabilities = bench.native.capabilities
    assert capabilities.longest_under_way == timedelta(seconds=2)
    assert (capabilities.absence_proof, capabilities.max_batch) == {
        "ccer": (AbsenceProof.SEARCH_TWICE, 1),
        "ets": (AbsenceProof.RESEND, 1),
        "local": (AbsenceProof.RESEND, 1),
        "gec": (AbsenceProof.VOID, 500),
    }[bench.kind]


def test_every_family_that_issues_over_http_has_a_bench(benches: set[str]) -> None:
    """Those that exchange files have suites of their own (``test_files.py``)."""
    assert benches == {kind for kind, desk in DESKS.items() if desk.issue_path}, "SET_UPS in tests/natives/conftest.py"


async def test_kind_without_a_client_is_refused() -> None:
    with pytest.raises(ValueError, match=f"kind must be one of {', '.join(sorted(KINDS))}, not 'tigr'"):
        open_native(
            "tigr", NativeSettings(registry="tigr", url="http://127.0.0.1:9", timeout_s=1, longest_under_way_s=1)
        )
