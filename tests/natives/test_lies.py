"""Answers that are well-formed and wrong: a registry that answers something else than was asked.

Each true answer of the stand-in is recorded over HTTP, changed in one place and served by a server that
says nothing else.
"""

import copy
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from soleclaim.registry.native import NativeIssuance, NativeRegistry, NativeUnavailable, NativeUnknown

if TYPE_CHECKING:
    from tests.natives.conftest import Bench, Liar
else:
    Bench = Liar = Any

Json = dict[str, Any]


REFERENCE_KEYS = {"ets": "externalRef", "local": "reference"}


def _issue_answer(bench: Bench, reference: str) -> Json:
    """What the stand-in really answers to an order of 10 units."""
    if bench.kind == "ccer":
        body: Json = {
            "projectInfoId": bench.project_id,
            "startDate": "20250101",
            "endDate": "20250630",
            "issueNum": 10,
            "externalReference": reference,
            "fencingToken": 1,
        }
    elif bench.kind == "ets":
        body = {
            "unitId": bench.project_id,
            "complianceYear": 2024,
            "quantity": "10",
            "externalRef": reference,
            "fencingToken": 1,
        }
    elif bench.kind == "local":
        body = {
            "filingNo": bench.project_id,
            "from": "2025-01-01",
            "to": "2025-06-30",
            "tonnes": 10,
            "reference": reference,
            "token": 1,
        }
    else:
        order = {
            "filingCode": bench.project_id,
            "generationMonth": "2025-03",
            "certificates": 10,
            "externalReference": reference,
            "fencingToken": 1,
        }
        body = {"orders": [order]}
    answer: Json = bench.http.post(bench.paths.issue, json=body).raise_for_status().json()
    return answer


def _find_answer(bench: Bench, reference: str) -> Json:
    asked = {REFERENCE_KEYS.get(bench.kind, "externalReference"): reference}
    if bench.kind == "ccer":
        answer: Json = bench.http.post(bench.paths.find, json=asked).json()
    else:
        answer = bench.http.get(bench.paths.find, params=asked).json()
    return answer


DATA_KEYS = {"ccer": "dataInfo", "ets": "data", "local": "result"}


def _issuance_in(kind: str, answer: Json) -> Json:
    """The issuance inside an answer to an order."""
    found: Json = answer["results"][0]["issuance"] if kind == "gec" else answer[DATA_KEYS[kind]]
    return found


async def _ask(bench: Bench, liar: Liar, answer: object, question: Callable[[NativeRegistry], Any]) -> object:
    liar.body = json.dumps(answer).encode()
    native = bench.open(liar.url)
    try:
        result: object = await question(native)
    finally:
        await native.close()
    return result


CHANGES: dict[str, dict[str, Json]] = {
    "ccer": {
        "another reference": {"externalReference": "lock-2:1"},
        "another quantity": {"issuedNum": 11},
        "a quantity of text": {"issuedNum": "10"},
        "another token": {"fencingToken": 2},
        "another project": {"projectInfoId": "1500000000000000778"},
        "another period": {"endDate": "20250629"},
        "a reversed period": {"endDate": "20240101"},
        "no such day": {"endDate": "20250631"},
        "the last day there is": {"endDate": "99991231"},
        "no id": {"ccerId": None},
        "no serials": {"serialBlocks": []},
        "too few serials": {"serialBlocks": [{"series": "A", "startNo": 1, "endNo": 9}]},
        "reversed serials": {"serialBlocks": [{"series": "A", "startNo": 10, "endNo": 1}]},
        "overlapping serials": {
            "serialBlocks": [{"series": "A", "startNo": 1, "endNo": 5}, {"series": "A", "startNo": 5, "endNo": 9}]
        },
    },
    "ets": {
        "another reference": {"externalRef": "lock-2:1"},
        "another quantity": {"quantity": "11"},
        "a quantity that became a float": {"quantity": 10.0},
        "a quantity with a fraction": {"quantity": "10.5"},
        "a thousands mark in the wrong place": {"quantity": "1,0"},
        "another token": {"fencingToken": 2},
        "another project": {"unitId": "044000000124"},
        "a unit that lost its leading zero": {"unitId": 44000000123},
        "a unit too short": {"unitId": "44000000123"},
        "another period": {"complianceYear": 2025},
        "a year of text": {"complianceYear": "2024"},
        "no such year": {"complianceYear": 0},
        "the last year there is": {"complianceYear": 9999},
        "no id": {"issueNo": None},
        "no serials": {"blocks": []},
        "too few serials": {"blocks": [{"series": "A", "from": "0000000001", "to": "0000000009"}]},
        "serials that lost their zeros": {"blocks": [{"series": "A", "from": "1", "to": "10"}]},
        "serials that became numbers": {"blocks": [{"series": "A", "from": 1, "to": 10}]},
        "reversed serials": {"blocks": [{"series": "A", "from": "0000000010", "to": "0000000001"}]},
    },
    "local": {
        "another reference": {"reference": "lock-2:1"},
        "another quantity": {"tonnes": 11},
        "a quantity that became a float": {"tonnes": 10.0},
        "a thousands mark in the wrong place": {"tonnes": "1,0"},
        "another token": {"token": 2},
        "another project": {"filingNo": "PHCER-440106-2024-00013"},
        "a project that lost its zeros": {"filingNo": "PHCER-440106-2024-12"},
        "another period": {"to": "2025-06-29"},
        "a reversed period": {"to": "2024-01-01"},
        "a day with its year last": {"to": "30/06/2025"},
        "no such day": {"to": "2025-06-31"},
        "the last day there is": {"to": "9999-12-31"},
        "no id": {"creditNo": ""},
        "no serials": {"serialTo": None},
        "too few serials": {"serialTo": "PHCER-440106-2024-00012.2025-00000009"},
        "serials that lost their zeros": {"serialTo": "PHCER-440106-2024-00012.2025-10"},
        "serials of two series": {"serialTo": "PHCER-440106-2024-00012.2024-00000010"},
        "reversed serials": {"serialFrom": "PHCER-440106-2024-00012.2025-00000011"},
    },
    "gec": {
        "another reference": {"externalReference": "lock-2:1"},
        "another quantity": {"certificates": 11},
        "a quantity of text": {"certificates": "10"},
        "another token": {"fencingToken": 2},
        "another project": {"filingCode": "FDWD2407150000124"},
        "another period": {"generationMonth": "2025-04"},
        "no such month": {"generationMonth": "2025-13"},
        "no id": {"issuanceNo": ""},
        "no serials": {"ranges": []},
        "a code too short": {
            "ranges": [{"startCode": "X", "endCode": "FDWD240715000012320250300000101T", "count": 10}]
        },
        "codes of another filing": {
            "ranges": [
                {
                    "startCode": "FDWD240715000012420250300000011T",
                    "endCode": "FDWD240715000012420250300000101T",
                    "count": 10,
                }
            ]
        },
        "codes of two classes": {
            "ranges": [
                {
                    "startCode": "FDWD240715000012320250300000011T",
                    "endCode": "FDWD240715000012320250300000101N",
                    "count": 10,
                }
            ]
        },
        "a range miscounted": {
            "ranges": [
                {
                    "startCode": "FDWD240715000012320250300000011T",
                    "endCode": "FDWD240715000012320250300000101T",
                    "count": 9,
                }
            ]
        },
    },
}


async def test_answer_that_is_not_what_was_ordered_is_unknown(bench: Bench, liar: Liar) -> None:
    truth = _issue_answer(bench, "lock-1:1")
    order = bench.order("lock-1:1")
    believed = await _ask(bench, liar, truth, lambda native: native.issue([order]))
    assert isinstance(believed, list)
    assert isinstance(believed[0], NativeIssuance), believed
    for case, change in CHANGES[bench.kind].items():
        lie = copy.deepcopy(truth)
        _issuance_in(bench.kind, lie).update(change)
        results = await _ask(bench, liar, lie, lambda native: native.issue([order]))
        assert isinstance(results, list)
        assert [type(result) for result in results] == [NativeUnknown], case


@pytest.mark.parametrize("body", ["null", "[]", "{}", "17", "", '{"successful": true, "results": 3}', "[" * 100_000])
async def test_other_json_than_an_answer_is_unknown(bench: Bench, liar: Liar, body: str) -> None:
    liar.body = body.encode()
    native = bench.open(liar.url)
    [result] = await native.issue([bench.order("lock-1:1")])
    assert isinstance(result, NativeUnknown)
    with pytest.raises(NativeUnavailable):
        await native.find("lock-1:1")
    with pytest.raises(NativeUnavailable):
        await anext(native.list_issuances())
    await native.close()


async def test_right_answer_of_the_wrong_type_is_unknown(bench: Bench, liar: Liar) -> None:
    liar.content_type = "text/html"
    answer = _issue_answer(bench, "lock-1:1")
    results = await _ask(bench, liar, answer, lambda native: native.issue([bench.order("lock-1:1")]))
    assert isinstance(results, list)
    assert isinstance(results[0], NativeUnknown)


def _refused(reference: str, code: str) -> Json:
    """A refusal in the words of every kind at once."""
    named = dict.fromkeys(("externalReference", *REFERENCE_KEYS.values()), reference)
    reason = {**named, "code": code, "retCode": code, "msg": "稍后再试", "retMsg": "稍后再试", "message": "later"}
    reason |= {"errorCode": code, "errorMsg": "稍后再试"}
    return {**reason, "successful": False, "success": False, "results": [{**reason, "status": "REFUSED"}], "data": None}


async def test_refusal_with_an_unknown_code_is_unknown(bench: Bench, liar: Liar) -> None:
    answer = _refused("lock-1:1", "TRY_LATER")
    results = await _ask(bench, liar, answer, lambda native: native.issue([bench.order("lock-1:1")]))
    assert isinstance(results, list)
    assert isinstance(results[0], NativeUnknown)


async def test_refusal_of_another_order_is_unknown(bench: Bench, liar: Liar) -> None:
    answer = _refused("lock-2:1", "STALE_TOKEN")
    results = await _ask(bench, liar, answer, lambda native: native.issue([bench.order("lock-1:1")]))
    assert isinstance(results, list)
    assert isinstance(results[0], NativeUnknown)


async def test_not_found_about_another_reference_is_no_answer(bench: Bench, liar: Liar) -> None:
    answer = _find_answer(bench, "lock-2:1")
    with pytest.raises(NativeUnavailable):
        await _ask(bench, liar, answer, lambda native: native.find("lock-1:1"))


async def test_filter_that_was_not_understood_is_no_answer(bench: Bench, liar: Liar) -> None:
    """Real registries then return everything: the question is echoed, the rows are others'."""
    _issue_answer(bench, "lock-2:1")
    answer = {**_find_answer(bench, "lock-2:1"), REFERENCE_KEYS.get(bench.kind, "externalReference"): "lock-1:1"}
    with pytest.raises(NativeUnavailable):
        await _ask(bench, liar, answer, lambda native: native.find("lock-1:1"))


async def test_list_without_a_total_is_no_answer(bench: Bench, liar: Liar) -> None:
    answer: Json = {
        "successful": True,
        "msg": None,
        "dataInfo": [],
        "items": [],
        "retCode": "0000",
        "data": [],
        "result": [],
    }
    with pytest.raises(NativeUnavailable, match="total"):
        await _ask(bench, liar, answer, lambda native: anext(native.list_issuances()))


async def test_project_and_outcome_of_somebody_else_are_no_answer(bench: Bench, liar: Liar) -> None:
    if bench.kind == "ccer":
        asked: Json = {"projectInfoId": bench.project_id}
        project = bench.http.post(bench.paths.project, json=asked).json()
        asked |= {"startDate": "20250101", "endDate": "20250630"}
        outcome = bench.http.post(bench.paths.outcome, json=asked).json()
        lies: list[Json] = [
            {"projectInfoId": "1500000000000000778"},
            {"startDate": "20250102"},
            {"endDate": "20250629"},
        ]
    elif bench.kind == "local":
        project = bench.http.get(bench.paths.project).json()
        outcome = bench.http.get(f"{bench.paths.outcome}/2025-01-01/2025-06-30").json()
        lies = [{"filingNo": "PHCER-440106-2024-00013"}, {"from": "2025-01-02"}, {"to": "2025-06-29"}]
    elif bench.kind == "ets":
        project = bench.http.get(bench.paths.project).json()
        outcome = bench.http.get(f"{bench.paths.outcome}/2024").json()
        lies = [{"unitId": "044000000124"}, {"complianceYear": 2023}, {"complianceYear": 2024.0}]
    else:
        project = bench.http.get(bench.paths.project).json()
        outcome = bench.http.get(f"{bench.paths.outcome}/2025-03").json()
        lies = [{"filingCode": "FDWD2407150000124"}, {"month": "2025-04"}]
    believed = await _ask(bench, liar, outcome, lambda native: native.get_outcome(bench.project_id, bench.period))
    assert believed == await bench.native.get_outcome(bench.project_id, bench.period)
    for lie in lies:
        told = {**outcome, **lie}
        with pytest.raises(NativeUnavailable):
            await _ask(bench, liar, told, lambda native: native.get_outcome(bench.project_id, bench.period))
    with pytest.raises(NativeUnavailable):
        await _ask(bench, liar, {**project, **lies[0]}, lambda native: native.get_project(bench.project_id))


@pytest.mark.parametrize("kind", ["ccer"])
async def test_inner_record_of_somebody_else_is_no_answer(bench: Bench, liar: Liar) -> None:
    other = {"projectInfoId": "1500000000000000778"}
    project = bench.http.post(bench.paths.project, json={"projectInfoId": bench.project_id}).json()
    project["dataInfo"] |= other
    with pytest.raises(NativeUnavailable, match="names projectInfoId"):
        await _ask(bench, liar, project, lambda native: native.get_project(bench.project_id))
    days = {"projectInfoId": bench.project_id, "startDate": "20250101", "endDate": "20250630"}
    outcome = bench.http.post(bench.paths.outcome, json=days).json()
    outcome["dataInfo"] |= other
    with pytest.raises(NativeUnavailable, match="names projectInfoId"):
        await _ask(bench, liar, outcome, lambda native: native.get_outcome(bench.project_id, bench.period))
