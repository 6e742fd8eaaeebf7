"""Settlements over the wire: a certificate moves with power once; lines are facts, corrections too; who sees what."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from soleclaim.api.common.v1.types_pb2 import UnitBlock
from soleclaim.api.lookup.v1 import activity_service_pb2 as activity_pb2
from soleclaim.api.lookup.v1 import event_service_pb2 as event_pb2
from soleclaim.api.lookup.v1 import settlement_service_pb2 as pb2
from soleclaim.core.errors import Reason
from soleclaim.core.identity import Caller
from tests.wire.conftest import (
    CCER,
    GEC,
    GP_BJ,
    GP_GZ,
    OPERATOR,
    REGULATOR,
    Party,
    Wire,
    block,
    fresh,
    items_of,
    meter,
    month,
    project,
    reason_of,
    refused,
    run_command,
    violations,
)

BUYER = "91110000100003962T"
SETTLED = pb2.SETTLEMENT_STATE_SETTLED
CONTRADICTS = pb2.SETTLEMENT_STATE_CONTRADICTS
UNKNOWN = pb2.SETTLEMENT_STATE_UNKNOWN_CERTIFICATES
CORRECTED = pb2.SETTLEMENT_STATE_CORRECTED


def line(registry: Caller, *blocks: UnitBlock, **changed: Any) -> pb2.RecordSettlementRequest:
    """A line that is right but for what is changed."""
    fields: dict[str, Any] = {
        "request_id": fresh(),
        "native_project": activity_pb2.NativeProjectRef(registry=registry.code, native_project_id="FDWD2407150000123"),
        "settlement_id": fresh("line"),
        "contract": "BJGP2025000001",
        "period": month(),
        "energy_kwh": 1_000 * sum(each.end - each.start + 1 for each in blocks),
        "buyer_code": BUYER,
        "blocks": blocks,
    }
    return pb2.RecordSettlementRequest(**fields | changed)


@dataclass
class Market:
    """Two exchanges, and a certificate registry that has issued serials 1 to 100 of a new series."""

    wire: Wire
    gec: Party
    bj: Party
    gz: Party
    series: str = field(default_factory=lambda: fresh("series"))

    def certificates(self, start: int, end: int) -> UnitBlock:
        return block(self.series, start, end)

    async def issue(self, start: int, end: int) -> None:
        activity = await self.wire.activity(GEC)
        lock = await self.gec.issuing(activity, units=end - start + 1)
        await self.gec.commit(lock, self.certificates(start, end))

    async def settle(self, party: Party, request: pb2.RecordSettlementRequest) -> pb2.Settlement:
        found: pb2.Settlement = await party("RecordSettlement", request)
        return found

    async def now(self, settlement: pb2.Settlement) -> pb2.Settlement:
        operator = await self.wire.party(OPERATOR)
        found: pb2.Settlement = await operator("GetSettlement", pb2.GetSettlementRequest(name=settlement.name))
        return found


@pytest.fixture
async def market(wire: Wire) -> Market:
    made = Market(wire, await wire.party(GEC), await wire.party(GP_BJ), await wire.party(GP_GZ))
    await made.issue(1, 100)
    return made


async def test_a_line_whose_certificates_were_issued_is_settled(market: Market) -> None:
    asked = line(GP_BJ, market.certificates(11, 20), market.certificates(1, 5))
    found = await market.settle(market.bj, asked)
    assert (found.state, found.certificates, found.count_differs) == (SETTLED, 15, False)
    assert [(each.start, each.end) for each in found.blocks] == [(1, 5), (11, 20)]
    assert (found.registry, found.energy_kwh, found.buyer_code) == ("gp-bj", 15_000, BUYER)
    assert found.period == asked.period
    assert not found.contradictions
    assert await market.now(found) == found


async def test_the_same_request_gets_the_first_answer_and_the_same_line_changes_nothing(market: Market) -> None:
    asked = line(GP_BJ, market.certificates(1, 10))
    first = await market.settle(market.bj, asked)
    assert await market.settle(market.bj, asked) == first
    asked.request_id = fresh()
    assert await market.settle(market.bj, asked) == first
    asked.request_id, asked.contract = fresh(), "another"
    await refused(market.settle(market.bj, asked), Reason.SETTLEMENT_DIFFERS)
    assert await market.now(first) == first


async def test_a_certificate_that_moved_is_kept_as_a_contradiction_and_told_to_both(market: Market) -> None:
    first = await market.settle(market.bj, line(GP_BJ, market.certificates(1, 10)))
    second = await market.settle(market.gz, line(GP_GZ, market.certificates(10, 20)))
    assert (second.state, [each.settlement_id for each in second.contradictions]) == (
        CONTRADICTS, [first.settlement_id],
    )  # fmt: skip
    first = await market.now(first)
    assert first.state == SETTLED
    [told] = first.contradictions
    assert (told.name, told.registry, told.settlement_id) == (second.name, "gp-gz", second.settlement_id)
    third = await market.settle(market.bj, line(GP_BJ, market.certificates(11, 20)))
    assert third.state == SETTLED, "a line that contradicts another moves none of its certificates"


async def test_certificates_that_the_ledger_does_not_know_are_looked_at_again_with_a_later_line(market: Market) -> None:
    first = await market.settle(market.bj, line(GP_BJ, market.certificates(91, 110)))
    second = await market.settle(market.gz, line(GP_GZ, market.certificates(101, 105)))
    assert (first.state, second.state) == (UNKNOWN, UNKNOWN)
    await market.issue(101, 110)
    assert (await market.now(first)).state == UNKNOWN
    await market.settle(market.gz, line(GP_GZ, market.certificates(1, 1)))
    assert (await market.now(first)).state == SETTLED, "of two lines that become known the first counts"
    assert (await market.now(second)).state == CONTRADICTS


async def test_certificates_that_became_known_are_seen_when_the_line_comes_again(market: Market) -> None:
    asked = line(GP_BJ, market.certificates(101, 110))
    assert (await market.settle(market.bj, asked)).state == UNKNOWN
    await market.issue(101, 110)
    asked.request_id = fresh()
    assert (await market.settle(market.bj, asked)).state == SETTLED


async def test_a_correction_takes_the_place_and_frees_what_it_does_not_keep(market: Market) -> None:
    first = await market.settle(market.bj, line(GP_BJ, market.certificates(1, 10)))
    waiting = await market.settle(market.gz, line(GP_GZ, market.certificates(6, 12)))
    assert waiting.state == CONTRADICTS
    second = await market.settle(market.bj, line(GP_BJ, market.certificates(1, 5), corrects=first.settlement_id))
    assert second.state == SETTLED
    assert (await market.now(first)).state == CORRECTED
    assert not (await market.now(first)).contradictions
    assert (await market.now(waiting)).state == SETTLED, "what was freed goes to the line that waited for it"
    gone = await market.settle(market.bj, line(GP_BJ, energy_kwh=0, corrects=second.settlement_id))
    assert (gone.state, gone.certificates) == (SETTLED, 0)
    again = await market.settle(market.gz, line(GP_GZ, market.certificates(1, 5)))
    assert again.state == SETTLED


async def test_what_a_correction_keeps_goes_to_no_line_that_waits_for_it(market: Market) -> None:
    first = await market.settle(market.bj, line(GP_BJ, market.certificates(1, 10)))
    waiting = await market.settle(market.gz, line(GP_GZ, market.certificates(4, 12)))
    second = await market.settle(market.bj, line(GP_BJ, market.certificates(1, 5), corrects=first.settlement_id))
    assert (second.state, (await market.now(waiting)).state) == (SETTLED, CONTRADICTS)
    third = await market.settle(market.bj, line(GP_BJ, market.certificates(1, 3), corrects=second.settlement_id))
    assert (third.state, (await market.now(waiting)).state) == (SETTLED, SETTLED)


async def test_corrections_that_come_before_what_they_correct_count_all_the_same(market: Market) -> None:
    ids = [fresh("line") for _ in range(3)]
    for place in (2, 1, 0):
        corrects = ids[place - 1] if place else ""
        asked = line(GP_BJ, market.certificates(1, 10 - place), settlement_id=ids[place], corrects=corrects)
        assert (await market.settle(market.bj, asked)).state == (SETTLED if place == 2 else CORRECTED)
    other = await market.settle(market.gz, line(GP_GZ, market.certificates(9, 10)))
    assert other.state == SETTLED


async def test_of_two_corrections_of_one_line_the_newest_counts(market: Market) -> None:
    first = await market.settle(market.bj, line(GP_BJ, market.certificates(1, 10)))
    second = await market.settle(market.bj, line(GP_BJ, market.certificates(1, 9), corrects=first.settlement_id))
    third = await market.settle(market.bj, line(GP_BJ, market.certificates(1, 8), corrects=first.settlement_id))
    assert [(await market.now(each)).state for each in (first, second, third)] == [CORRECTED, CORRECTED, SETTLED]


async def test_a_batch_answers_per_item_as_it_stands_after_the_whole(market: Market) -> None:
    first = line(GP_BJ, market.certificates(1, 10))
    second = line(GP_BJ, market.certificates(5, 15))
    third = line(GP_BJ, market.certificates(1, 4), corrects=first.settlement_id)
    bad = line(GP_BJ, market.certificates(20, 19))
    twin = pb2.RecordSettlementRequest()
    twin.CopyFrom(first)
    twin.contract = "another"
    request = pb2.BatchRecordSettlementsRequest(request_id=fresh(), requests=items_of(first, second, third, bad, twin))
    answer = await market.bj("BatchRecordSettlements", request)
    assert [each.settlement.state for each in answer.results[:3]] == [CORRECTED, SETTLED, SETTLED]
    assert reason_of(answer.results[3]) is Reason.INVALID_REQUEST
    assert reason_of(answer.results[4]) is Reason.SETTLEMENT_DIFFERS
    assert await market.bj("BatchRecordSettlements", request) == answer


async def test_a_full_batch_fits_into_one_call(own_wire: Wire) -> None:
    exchange, series = await own_wire.party(GP_BJ), fresh("series")
    lines = [line(GP_BJ, *(block(f"{series}-{n}", 2 * k, 2 * k) for k in range(8))) for n in range(1_000)]
    request = pb2.BatchRecordSettlementsRequest(request_id=fresh(), requests=items_of(*lines))
    answer = await exchange("BatchRecordSettlements", request)
    assert {each.settlement.state for each in answer.results} == {UNKNOWN}


@pytest.mark.parametrize(
    ("energy_kwh", "differs"), [(10_000, False), (10_999, False), (9_001, False), (11_000, True), (9_000, True)]
)
async def test_a_count_that_differs_from_the_energy_is_told(market: Market, energy_kwh: int, *, differs: bool) -> None:
    found = await market.settle(market.bj, line(GP_BJ, market.certificates(1, 10), energy_kwh=energy_kwh))
    assert (found.state, found.count_differs) == (SETTLED, differs)


async def test_a_station_resolves_to_the_activity_that_the_certificate_registry_knows(market: Market) -> None:
    identifier = meter()
    activity = await market.gec.register(identifier)
    station = project("gp-bj", identifier)
    found = await market.settle(
        market.bj, line(GP_BJ, market.certificates(1, 1), native_project=station.native_project)
    )
    assert not found.activity
    await market.bj("RegisterActivity", station)
    assert (await market.now(found)).activity == activity.name


async def test_two_exchanges_that_settle_one_certificate_at_once_have_one_settlement(market: Market) -> None:
    parties = [(market.bj, GP_BJ), (market.gz, GP_GZ)] * 8
    found = await asyncio.gather(
        *(market.settle(party, line(code, market.certificates(1, 10))) for party, code in parties)
    )
    states = [(await market.now(each)).state for each in found]
    assert (states.count(SETTLED), states.count(CONTRADICTS)) == (1, 15)


async def test_lines_are_listed_by_registry_and_state_in_pages(market: Market) -> None:
    made = [await market.settle(market.bj, line(GP_BJ, market.certificates(n, n))) for n in (1, 2, 2, 3)]
    operator = await market.wire.party(OPERATOR)
    listed: list[pb2.Settlement] = []
    request = pb2.ListSettlementsRequest(registry="gp-bj", page_size=2)
    while True:
        page = await operator("ListSettlements", request)
        assert len(page.settlements) <= 2
        listed += page.settlements
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert [each.name for each in listed if each.blocks and each.blocks[0].series == market.series] == [
        each.name for each in made
    ]
    request = pb2.ListSettlementsRequest(registry="gp-bj", state=CONTRADICTS, page_size=1000)
    page = await operator("ListSettlements", request)
    assert made[2].name in [each.name for each in page.settlements]
    assert {each.state for each in page.settlements} == {CONTRADICTS}


async def test_an_exchange_sees_its_own_lines_the_certificate_registry_all_without_buyers_others_none(
    market: Market,
) -> None:
    found = await market.settle(market.bj, line(GP_BJ, market.certificates(1, 10)))
    get = pb2.GetSettlementRequest(name=found.name)
    everything = pb2.ListSettlementsRequest(page_size=1000)
    for caller in (GP_BJ, REGULATOR, OPERATOR):
        party = await market.wire.party(caller)
        assert (await party("GetSettlement", get)).buyer_code == BUYER
    seen = await market.gec("GetSettlement", get)
    assert (seen.settlement_id, seen.buyer_code, seen.contract) == (found.settlement_id, "", "")
    assert seen.blocks == found.blocks
    page = await market.gec("ListSettlements", everything)
    assert found.name in [each.name for each in page.settlements]
    assert {each.buyer_code for each in page.settlements} == {""}
    for caller in (GP_GZ, CCER):
        party = await market.wire.party(caller)
        await refused(party("GetSettlement", get), Reason.SETTLEMENT_UNKNOWN)
        page = await party("ListSettlements", everything)
        assert {each.registry for each in page.settlements} <= {caller.code}
    unknown = pb2.GetSettlementRequest(name="settlements/999999999")
    await refused(market.bj("GetSettlement", unknown), Reason.SETTLEMENT_UNKNOWN)


async def test_a_registry_records_for_itself_and_only_an_exchange_at_all(market: Market) -> None:
    await refused(market.settle(market.gz, line(GP_BJ, market.certificates(1, 1))), Reason.REGISTRY_NOT_YOURS)
    refusal = await refused(market.settle(market.gec, line(GEC, market.certificates(1, 1))), Reason.INVALID_REQUEST)
    assert "gp-bj, gp-gz, gp-nm" in violations(refusal)[0][1]


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"settlement_id": ""}, "settlement_id"),
        ({"settlement_id": "x" * 129}, "settlement_id"),
        ({"contract": ""}, "contract"),
        ({"contract": "a\u202eb"}, "contract"),
        ({"buyer_code": ""}, "buyer_code"),
        ({"buyer_code": BUYER[1:]}, "buyer_code"),
        ({"period": None}, "period"),
        ({"energy_kwh": -1}, "energy_kwh"),
        ({"energy_kwh": 0}, "blocks"),
        ({"blocks": []}, "blocks"),
        ({"blocks": [block("s", 1, 2), block("s", 2, 3)]}, "blocks"),
        ({"blocks": [block("s", n, n) for n in range(65)]}, "blocks"),
        ({"blocks": [block("", 1, 2)]}, "blocks[0].series"),
        ({"native_project": None}, "native_project.registry"),
    ],
)
async def test_a_malformed_line_is_refused_with_its_field(market: Market, changed: dict[str, Any], place: str) -> None:
    asked = line(GP_BJ, market.certificates(1, 1), **changed)
    refusal = await refused(market.settle(market.bj, asked), Reason.INVALID_REQUEST)
    assert place in [each for each, _ in violations(refusal)]


async def test_a_line_corrects_another_and_an_empty_one_corrects_something(market: Market) -> None:
    own = line(GP_BJ, market.certificates(1, 1))
    own.corrects = own.settlement_id
    for asked in (own, line(GP_BJ, energy_kwh=0)):
        await refused(market.settle(market.bj, asked), Reason.INVALID_REQUEST)


async def test_a_recorded_line_is_told_in_the_history(market: Market) -> None:
    before = await market.bj.now()
    await market.settle(market.bj, line(GP_BJ, market.certificates(1, 1)))
    events = await market.bj.events(before)
    assert [each.event.kind for each in events] == [event_pb2.EVENT_KIND_SETTLEMENT_RECORDED]


async def test_lines_are_never_changed_in_the_store(market: Market) -> None:
    await market.settle(market.bj, line(GP_BJ, market.certificates(1, 1)))
    for statement in ("UPDATE settlement_line SET buyer_code = ''", "DELETE FROM settlement_line"):
        with pytest.raises(Exception, match="append-only"):
            market.wire.sql(statement)


@pytest.mark.postgres
@pytest.mark.parametrize("store_kind", ["postgres"])
async def test_the_database_itself_keeps_two_live_ranges_from_sharing_a_certificate(market: Market) -> None:
    await market.settle(market.bj, line(GP_BJ, market.certificates(1, 10)))
    second = await market.settle(market.gz, line(GP_GZ, market.certificates(10, 20)))
    number = second.name.removeprefix("settlements/")
    with pytest.raises(Exception, match="settlement_block_exclusion"):
        market.wire.sql(f"UPDATE settlement_block SET live = TRUE WHERE number = {int(number)}")  # noqa: S608  a number


async def test_people_list_and_show_lines_in_both_languages(market: Market) -> None:
    first = await market.settle(market.bj, line(GP_BJ, market.certificates(1, 10), energy_kwh=12_000))
    second = await market.settle(market.gz, line(GP_GZ, market.certificates(1, 10)))
    _, listed = await run_command(market.wire, "settlement", "list", "--registry", "gp-bj", "--json", "--limit", "1000")
    assert first.name in [each["name"] for each in json.loads(listed)["settlements"]]
    arguments = ("settlement", "list", "--state", "CONTRADICTS", "--lang", "zh", "--limit", "1000")
    _, listed = await run_command(market.wire, *arguments)
    [row] = [each for each in listed.splitlines() if second.settlement_id in each]
    assert f"绿证相同：gp-bj {first.settlement_id}" in row
    _, listed = await run_command(market.wire, "settlement", "list", "--state", "SETTLED", "--limit", "1000")
    [row] = [each for each in listed.splitlines() if f" {first.settlement_id} " in each]
    assert "count differs from energy" in row
    _, shown = await run_command(market.wire, "settlement", "show", second.name, "--json")
    assert json.loads(shown)["contradictions"][0]["settlement_id"] == first.settlement_id
    code, _ = await run_command(market.wire, "settlement", "show", "999999999")
    assert code != 0
