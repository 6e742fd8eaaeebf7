"""The stand-in of an emission trading system: signatures, the book, surrender with offsets."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from soleclaim.natives.signing import Signature
from soleclaim.sandbox.server import running
from soleclaim.sandbox.stand_in import StandIn

Json = dict[str, Any]

SECRET = b"a secret for tests"
BASE = "/openapi/v1"

_numbers: Iterator[int] = count(1)


@pytest.fixture(scope="module")
def ets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    stand_in = StandIn(tmp_path_factory.mktemp("ets") / "native.db", "gdea", secret=SECRET)
    with (
        running("ets", stand_in) as url,
        httpx.Client(base_url=url, trust_env=False, verify=False, auth=Signature("gdea", SECRET)) as http,  # noqa: S501  plain HTTP
    ):
        yield http


def post(http: httpx.Client, path: str, **body: object) -> Json:
    answer: Json = http.post(path, json=body).json()
    return answer


def allocated(http: httpx.Client, **told: int) -> str:
    """A unit with 1,000 allowances for 2024, all issued."""
    unit_id = f"GD-44-{next(_numbers):05d}"
    unit = {
        "unitId": unit_id, "unitName": "某厂", "uscc": "91440000MA4UQ0001X", "sector": "水泥", "province": "广东省",
    }  # fmt: skip
    post(http, "/office/units", units=[unit])
    allocation = {"unitId": unit_id, "complianceYear": 2024, "approved": 1_000, **told}
    assert post(http, "/office/allocations", allocations=[allocation])["retCode"] == "0000"
    order = {
        "unitId": unit_id, "complianceYear": 2024, "quantity": "1000", "externalRef": unit_id, "fencingToken": 1,
    }  # fmt: skip
    assert post(http, f"{BASE}/allowance-issues", **order)["retCode"] == "0000"
    return unit_id


def surrender(http: httpx.Client, unit_id: str, allowances: int, *offsets: Json, number: str = "") -> str:
    answer = post(
        http,
        f"{BASE}/surrenders",
        surrenderNo=number or f"S{next(_numbers)}",
        unitId=unit_id,
        complianceYear=2024,
        allowances=str(allowances),
        offsets=list(offsets),
    )
    code: str = answer["retCode"]
    return code


def credits_of(first: int, last: int, kind: str = "CCER") -> Json:
    return {"creditType": kind, "series": f"{kind}-1", "from": first, "to": last}


# --- signatures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"x-signature": "0" * 64}, "SIGNATURE_WRONG"),
        ({"x-signature": ""}, "SIGNATURE_WRONG"),
        ({"x-timestamp": "1700000000"}, "SIGNATURE_WRONG"),
        ({"x-nonce": "another"}, "SIGNATURE_WRONG"),
        ({"x-key-id": "cea"}, "KEY_UNKNOWN"),
        ({}, ""),
    ],
)
def test_a_request_whose_headers_were_changed_is_not_let_in(ets: httpx.Client, changed: Json, code: str) -> None:
    request = signed(ets, "GET", f"{BASE}/units/GD-44-99999")
    request.headers.update(changed)
    answer = ets.send(request, auth=None)
    assert answer.status_code == (401 if code else 200)
    assert not code or answer.json()["retCode"] == code


def test_a_body_path_or_query_that_was_changed_is_not_let_in(ets: httpx.Client) -> None:
    headers = signed(ets, "GET", f"{BASE}/allowance-issues", params={"pageNo": "1", "pageSize": "5"}).headers
    for params, path in (({"pageNo": "2", "pageSize": "5"}, "/allowance-issues"), ({}, "/surrenders")):
        answer = ets.get(f"{BASE}{path}", params=params, headers=headers, auth=None)
        assert answer.json()["retCode"] == "SIGNATURE_WRONG"
    headers = signed(ets, "POST", f"{BASE}/surrenders", json={"allowances": "1"}).headers
    changed = ets.build_request("POST", f"{BASE}/surrenders", json={"allowances": "9"}, headers=headers)
    answer = ets.send(changed, auth=None)
    assert answer.json()["retCode"] == "SIGNATURE_WRONG"


def test_a_request_that_comes_again_is_not_let_in(ets: httpx.Client) -> None:
    request = signed(ets, "GET", f"{BASE}/units/GD-44-99999")
    assert ets.send(request, auth=None).status_code == 200
    again = ets.send(request, auth=None)
    assert (again.status_code, again.json()["retCode"]) == (401, "NONCE_REPLAYED")


def signed(http: httpx.Client, method: str, path: str, **content: Any) -> httpx.Request:
    request = http.build_request(method, path, **content)
    return next(Signature("gdea", SECRET).auth_flow(request))


def test_a_system_without_a_secret_or_of_another_name_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give the secret"), running("ets", StandIn(tmp_path / "a.db", "cea")):
        pass
    with (
        pytest.raises(ValueError, match="registry must be one of bea, cea"),
        running("ets", StandIn(tmp_path / "b.db", "xea", secret=SECRET)),
    ):
        pass


# --- surrender ----------------------------------------------------------------------------------------------


def test_a_year_is_settled_by_allowances_and_credits(ets: httpx.Client) -> None:
    unit_id = allocated(ets, emissions=1_050, emissionsBefore=900)
    assert surrender(ets, unit_id, 960, credits_of(1, 90)) == "0000"
    listed = ets.get(f"{BASE}/surrenders", params={"pageNo": "1", "pageSize": "50"}).json()
    assert listed["totalCount"] == len(listed["data"])
    [row] = [row for row in listed["data"] if row["unitId"] == unit_id]
    assert (row["allowances"], row["credits"]) == ("960", "90")


def test_no_more_is_given_than_is_held_or_was_emitted(ets: httpx.Client) -> None:
    unit_id = allocated(ets, emissions=2_000, emissionsBefore=900)
    assert surrender(ets, unit_id, 1_001) == "EXCEEDS_HOLDING"
    unit_id = allocated(ets, emissions=500, emissionsBefore=900)
    assert surrender(ets, unit_id, 300) == "0000"
    assert surrender(ets, unit_id, 201) == "EXCEEDS_DUTY"
    assert surrender(ets, allocated(ets), 1) == "NOT_VERIFIED"


def test_credits_are_limited_in_number_and_kind_and_used_once(ets: httpx.Client) -> None:
    """Guangdong: 10 % of the emissions of the year before, CCER or its own (study table 3-2)."""
    unit_id = allocated(ets, emissions=1_000, emissionsBefore=900)
    assert surrender(ets, unit_id, 0, credits_of(1_001, 1_091)) == "EXCEEDS_OFFSET_LIMIT"
    assert surrender(ets, unit_id, 0, credits_of(1_001, 1_050), credits_of(1, 40, "PHCER")) == "0000"
    assert surrender(ets, unit_id, 0, credits_of(2_001, 2_001)) == "EXCEEDS_OFFSET_LIMIT"
    other = allocated(ets, emissions=1_000, emissionsBefore=900)
    assert surrender(ets, other, 0, credits_of(1_050, 1_051)) == "CREDIT_USED"
    assert surrender(ets, other, 0, credits_of(3_001, 3_010), credits_of(3_010, 3_011)) == "CREDIT_USED"
    assert surrender(ets, other, 0, credits_of(1, 2, "TFCER")) == "CREDIT_NOT_TAKEN"
    assert surrender(ets, allocated(ets, emissions=1_000), 0, credits_of(4_001, 4_002)) == "NOT_VERIFIED"


def test_a_surrender_that_comes_again_is_the_first(ets: httpx.Client) -> None:
    unit_id = allocated(ets, emissions=1_000, emissionsBefore=900)
    for _ in range(2):
        assert surrender(ets, unit_id, 600, credits_of(9_001, 9_002), number=f"N-{unit_id}") == "0000"
    assert surrender(ets, unit_id, 601, number=f"N-{unit_id}") == "SURRENDER_EXISTS"


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantity": 10},
        {"quantity": "1,000"},
        {"quantity": "10.0"},
        {"unitId": 4400001},
        {"unitId": "GD-44-1"},
        {"complianceYear": "2024"},
        {"externalRef": "a b"},
        {"fencingToken": None},
    ],
)
def test_an_order_that_is_not_understood_is_refused_and_leaves_nothing(ets: httpx.Client, wrong: Json) -> None:
    order = {
        "unitId": "GD-44-00001", "complianceYear": 2024, "quantity": "1", "externalRef": "bad", "fencingToken": 9,
    }  # fmt: skip
    answer = post(ets, f"{BASE}/allowance-issues", **{**order, **wrong})
    assert answer["retCode"] == "BAD_REQUEST"
    found = ets.get(f"{BASE}/allowance-issues/by-reference", params={"externalRef": "bad"}).json()
    assert found["data"] is None
