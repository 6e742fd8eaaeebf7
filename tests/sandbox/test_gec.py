"""The green certificate stand-in: filing, monthly readings, carried remainders, certificate codes."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest

Json = dict[str, Any]

_numbers: Iterator[int] = count()


def post(http: httpx.Client, path: str, **body: object) -> Json:
    answer: Json = http.post(f"/api/v1/{path}", json=body).json()
    return answer


def filed(http: httpx.Client, **changed: object) -> str:
    code = f"TEST{next(_numbers):013d}"
    filing = {"filingCode": code, "projectName": "风电场", "owner": "业主", "energyType": "风电", "province": "甘肃省"}
    answer = post(http, "filings", filings=[{**filing, **changed}])
    assert answer == {"accepted": 1}, answer
    return code


def measured(http: httpx.Client, filing_code: str, **months: int) -> Json:
    """``m2025_01=…``: kWh of January 2025."""
    readings = [
        {"filingCode": filing_code, "month": month[1:].replace("_", "-"), "kwh": kwh} for month, kwh in months.items()
    ]
    return post(http, "readings", readings=readings)


def order(filing_code: str, month: str, certificates: int, reference: str, token: int = 1) -> Json:
    return {
        "filingCode": filing_code,
        "generationMonth": month,
        "certificates": certificates,
        "externalReference": reference,
        "fencingToken": token,
    }


def issued(http: httpx.Client, *orders: Json) -> list[Json]:
    results: list[Json] = post(http, "issuances", orders=list(orders))["results"]
    return results


def test_remainder_under_one_megawatt_hour_is_carried_to_the_next_month(gec: httpx.Client) -> None:
    code = filed(gec)
    measured(gec, code, m2025_11=1_700, m2025_12=2_600, m2026_01=700)
    outcomes = [
        gec.get(f"/api/v1/filings/{code}/outcomes/{month}").json() for month in ("2025-11", "2025-12", "2026-01")
    ]
    assert [(outcome["carriedInKwh"], outcome["issuable"]) for outcome in outcomes] == [(0, 1), (700, 3), (300, 1)]
    assert sum(outcome["issuable"] for outcome in outcomes) == (1_700 + 2_600 + 700) // 1_000


def test_month_after_an_unmeasured_one_waits_for_it(gec: httpx.Client) -> None:
    code = filed(gec)
    measured(gec, code, m2025_01=1_500, m2025_03=1_500)
    assert gec.get(f"/api/v1/filings/{code}/outcomes/2025-03").json()["status"] == "NOT_MEASURED"
    [result] = issued(gec, order(code, "2025-03", 1, f"{code}:1"))
    assert result["code"] == "NOT_MEASURED"
    measured(gec, code, m2025_02=0)
    assert gec.get(f"/api/v1/filings/{code}/outcomes/2025-03").json()["issuable"] == 2


def test_reading_may_be_corrected_until_certificates_rest_on_it(gec: httpx.Client) -> None:
    code = filed(gec)
    measured(gec, code, m2025_01=1_000, m2025_02=1_000)
    assert measured(gec, code, m2025_01=2_000) == {"accepted": 1}
    issued(gec, order(code, "2025-02", 1, f"{code}:1"))
    for month in ("m2025_01", "m2025_02", "m2024_12"):
        assert measured(gec, code, **{month: 9_000})["code"] == "MONTH_SETTLED"
    assert measured(gec, code, m2025_03=1) == {"accepted": 1}


def test_certificate_codes_have_32_characters_and_run_on(gec: httpx.Client) -> None:
    code = filed(gec, tradable=False)
    measured(gec, code, m2025_01=12_000)
    results = issued(gec, order(code, "2025-01", 2, f"{code}:1"), order(code, "2025-01", 10, f"{code}:2"))
    blocks = [result["issuance"]["ranges"][0] for result in results]
    assert blocks == [
        {"startCode": f"{code}20250100000011N", "endCode": f"{code}20250100000021N", "count": 2},
        {"startCode": f"{code}20250100000031N", "endCode": f"{code}20250100000121N", "count": 10},
    ]
    assert {len(block["startCode"]) for block in blocks} == {32}


def test_reference_is_unique(gec: httpx.Client) -> None:
    code = filed(gec)
    measured(gec, code, m2025_01=12_000)
    first, again, other, other_token = issued(
        gec,
        order(code, "2025-01", 2, f"{code}:1"),
        order(code, "2025-01", 2, f"{code}:1"),
        order(code, "2025-01", 3, f"{code}:1"),
        order(code, "2025-01", 2, f"{code}:1", token=2),
    )
    assert first == again
    assert (other["code"], other_token["code"]) == ("REFERENCE_REUSED", "REFERENCE_REUSED")
    assert gec.get(f"/api/v1/filings/{code}/outcomes/2025-01").json()["issued"] == 2


def test_voided_reference_is_refused_for_ever(gec: httpx.Client) -> None:
    code = filed(gec)
    measured(gec, code, m2025_01=1_000)
    for _ in range(2):
        assert post(gec, "references/void", externalReference=f"{code}:1")["status"] == "VOIDED"
    assert gec.get("/api/v1/references", params={"externalReference": f"{code}:1"}).json()["status"] == "VOIDED"
    [result] = issued(gec, order(code, "2025-01", 1, f"{code}:1"))
    assert result["code"] == "REFERENCE_VOIDED"


def test_malformed_order_does_not_spoil_the_batch(gec: httpx.Client) -> None:
    code = filed(gec)
    measured(gec, code, m2025_01=1_000)
    bad, good = issued(gec, order(code, "2025-13", 1, f"{code}:1"), order(code, "2025-01", 1, f"{code}:2"))
    assert (bad["status"], bad["code"], bad["externalReference"]) == ("REFUSED", "BAD_REQUEST", f"{code}:1")
    assert good["status"] == "ISSUED"


@pytest.mark.parametrize("orders", [[], [{}] * 501, {}, [1]])
def test_batch_has_1_to_500_orders(gec: httpx.Client, orders: object) -> None:
    answer = gec.post("/api/v1/issuances", json={"orders": orders})
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "wrong",
    [
        {"filingCode": "TOO-SHORT"},
        {"energyType": "煤电"},
        {"tradable": "yes"},
        {"uscc": "1"},
        {"capacityMw": "many"},
    ],
)
def test_filing_that_cannot_be_is_refused(gec: httpx.Client, wrong: Json) -> None:
    filing = {"filingCode": "A" * 17, "projectName": "p", "owner": "o", "energyType": "光伏", "province": "甘肃省"}
    answer = gec.post("/api/v1/filings", json={"filings": [{**filing, **wrong}]})
    assert answer.status_code == 400
    assert next(iter(wrong)) in answer.json()["message"]


def test_unknown_filing_is_named(gec: httpx.Client) -> None:
    answer = gec.get(f"/api/v1/filings/{'B' * 17}")
    assert answer.status_code == 404
    assert answer.json() == {"code": "FILING_NOT_FOUND", "filingCode": "B" * 17}
    assert measured(gec, "B" * 17, m2025_01=1)["code"] == "FILING_NOT_FOUND"


@pytest.mark.parametrize("query", [{}, {"page": "0", "size": "1"}, {"page": "1", "size": "x"}])
def test_page_must_be_named(gec: httpx.Client, query: dict[str, str]) -> None:
    assert gec.get("/api/v1/issuances", params=query).status_code == 400
