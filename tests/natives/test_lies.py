"""Answers that are well-formed and wrong: a registry that answers something else than was asked.

Each true answer of the stand-in is recorded over HTTP, changed in one place and served by a server that
says nothing else.
"""

import copy
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from soleclaim.natives import open_native
from soleclaim.registry.native import NativeIssuance, NativeRegistry, NativeUnavailable, NativeUnknown

if TYPE_CHECKING:
    from tests.natives.conftest import Bench
else:
    Bench = Any

Json = dict[str, Any]


class Liar:
    """Answers every request with the same body."""

    def __init__(self) -> None:
        self.body = b""
        self.content_type = "application/json"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(200)
                self.send_header("content-type", outer.content_type)
                self.send_header("content-length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            do_POST = do_GET  # noqa: N815  the name that the base class calls

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  inherited name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def liar() -> Iterator[Liar]:
    server = Liar()
    yield server
    server.close()


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
    asked = {"externalReference": reference}
    if bench.kind == "ccer":
        answer: Json = bench.http.post(bench.paths.find, json=asked).json()
    else:
        answer = bench.http.get(bench.paths.find, params=asked).json()
    return answer


def _issuance_in(kind: str, answer: Json) -> Json:
    """The issuance inside an answer to an order."""
    found: Json = answer["dataInfo"] if kind == "ccer" else answer["results"][0]["issuance"]
    return found


async def _ask(kind: str, liar: Liar, answer: object, question: Callable[[NativeRegistry], Any]) -> object:
    liar.body = json.dumps(answer).encode()
    native = open_native(kind, liar.url, timeout_s=5, longest_under_way_s=5)
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
    believed = await _ask(bench.kind, liar, truth, lambda native: native.issue([order]))
    assert isinstance(believed, list)
    assert isinstance(believed[0], NativeIssuance), believed
    for case, change in CHANGES[bench.kind].items():
        lie = copy.deepcopy(truth)
        _issuance_in(bench.kind, lie).update(change)
        results = await _ask(bench.kind, liar, lie, lambda native: native.issue([order]))
        assert isinstance(results, list)
        assert [type(result) for result in results] == [NativeUnknown], case


@pytest.mark.parametrize("body", ["null", "[]", "{}", "17", "", '{"successful": true, "results": 3}', "[" * 100_000])
async def test_other_json_than_an_answer_is_unknown(bench: Bench, liar: Liar, body: str) -> None:
    liar.body = body.encode()
    native = open_native(bench.kind, liar.url, timeout_s=5, longest_under_way_s=5)
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
    results = await _ask(bench.kind, liar, answer, lambda native: native.issue([bench.order("lock-1:1")]))
    assert isinstance(results, list)
    assert isinstance(results[0], NativeUnknown)


async def test_refusal_with_an_unknown_code_is_unknown(bench: Bench, liar: Liar) -> None:
    reason = {"externalReference": "lock-1:1", "code": "TRY_LATER", "msg": "稍后再试", "message": "later"}
    answer = {**reason, "successful": False, "results": [{**reason, "status": "REFUSED"}]}
    results = await _ask(bench.kind, liar, answer, lambda native: native.issue([bench.order("lock-1:1")]))
    assert isinstance(results, list)
    assert isinstance(results[0], NativeUnknown)


async def test_refusal_of_another_order_is_unknown(bench: Bench, liar: Liar) -> None:
    reason = {"externalReference": "lock-2:1", "code": "STALE_TOKEN", "msg": "令牌", "message": "stale"}
    answer = {**reason, "successful": False, "results": [{**reason, "status": "REFUSED"}]}
    results = await _ask(bench.kind, liar, answer, lambda native: native.issue([bench.order("lock-1:1")]))
    assert isinstance(results, list)
    assert isinstance(results[0], NativeUnknown)


async def test_not_found_about_another_reference_is_no_answer(bench: Bench, liar: Liar) -> None:
    answer = _find_answer(bench, "lock-2:1")
    with pytest.raises(NativeUnavailable):
        await _ask(bench.kind, liar, answer, lambda native: native.find("lock-1:1"))


async def test_filter_that_was_not_understood_is_no_answer(bench: Bench, liar: Liar) -> None:
    """Real registries then return everything: the question is echoed, the rows are others'."""
    _issue_answer(bench, "lock-2:1")
    answer = {**_find_answer(bench, "lock-2:1"), "externalReference": "lock-1:1"}
    with pytest.raises(NativeUnavailable):
        await _ask(bench.kind, liar, answer, lambda native: native.find("lock-1:1"))


async def test_list_without_a_total_is_no_answer(bench: Bench, liar: Liar) -> None:
    answer: Json = {"successful": True, "msg": None, "dataInfo": [], "items": []}
    with pytest.raises(NativeUnavailable, match="total"):
        await _ask(bench.kind, liar, answer, lambda native: anext(native.list_issuances()))


async def test_project_and_outcome_of_somebody_else_are_no_answer(bench: Bench, liar: Liar) -> None:
    if bench.kind == "ccer":
        asked: Json = {"projectInfoId": bench.project_id}
        project = bench.http.post(bench.paths.project, json=asked).json()
        asked |= {"startDate": "20250101", "endDate": "20250630"}
        outcome = bench.http.post(bench.paths.outcome, json=asked).json()
        lies = [{"projectInfoId": "1500000000000000778"}, {"startDate": "20250102"}, {"endDate": "20250629"}]
    else:
        project = bench.http.get(bench.paths.project).json()
        outcome = bench.http.get(f"{bench.paths.outcome}/2025-03").json()
        lies = [{"filingCode": "FDWD2407150000124"}, {"month": "2025-04"}]
    believed = await _ask(bench.kind, liar, outcome, lambda native: native.get_outcome(bench.project_id, bench.period))
    assert believed == await bench.native.get_outcome(bench.project_id, bench.period)
    for lie in lies:
        told = {**outcome, **lie}
        with pytest.raises(NativeUnavailable):
            await _ask(bench.kind, liar, told, lambda native: native.get_outcome(bench.project_id, bench.period))
    with pytest.raises(NativeUnavailable):
        await _ask(bench.kind, liar, {**project, **lies[0]}, lambda native: native.get_project(bench.project_id))


@pytest.mark.parametrize("kind", ["ccer"])
async def test_inner_record_of_somebody_else_is_no_answer(bench: Bench, liar: Liar) -> None:
    other = {"projectInfoId": "1500000000000000778"}
    project = bench.http.post(bench.paths.project, json={"projectInfoId": bench.project_id}).json()
    project["dataInfo"] |= other
    with pytest.raises(NativeUnavailable, match="names projectInfoId"):
        await _ask(bench.kind, liar, project, lambda native: native.get_project(bench.project_id))
    days = {"projectInfoId": bench.project_id, "startDate": "20250101", "endDate": "20250630"}
    outcome = bench.http.post(bench.paths.outcome, json=days).json()
    outcome["dataInfo"] |= other
    with pytest.raises(NativeUnavailable, match="names projectInfoId"):
        await _ask(bench.kind, liar, outcome, lambda native: native.get_outcome(bench.project_id, bench.period))
