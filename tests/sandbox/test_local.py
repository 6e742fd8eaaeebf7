"""The stand-in of a local credit registry: filings of its area, reductions in parts of a tonne."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from soleclaim.sandbox.server import running
from soleclaim.sandbox.stand_in import StandIn

Json = dict[str, Any]

NUMBER = "SZPH44030500000012"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    stand_in = StandIn(tmp_path_factory.mktemp("local") / "native.db", "szph")
    with (
        running("local", stand_in) as url,
        httpx.Client(base_url=url, trust_env=False, verify=False) as http,  # noqa: S501  plain HTTP
    ):
        yield http


def filed(http: httpx.Client, **changed: object) -> Json:
    filing = {
        "filingNo": NUMBER, "divisionCode": "440305", "projectName": "南山区分布式光伏", "applicant": "某公司",
        "category": "分布式光伏", "province": "广东省",
    }  # fmt: skip
    answer: Json = http.post("/office/filings", json={"filings": [{**filing, **changed}]}).json()
    return answer


def test_a_project_elsewhere_is_not_filed(local: httpx.Client) -> None:
    elsewhere = filed(local, filingNo="SZPH44010600000012", divisionCode="440106")
    assert elsewhere["errorCode"] == "OUTSIDE_AREA"
    assert filed(local, divisionCode="440306")["errorCode"] == "BAD_REQUEST"
    assert filed(local, filingNo=12)["errorCode"] == "BAD_REQUEST"


def test_whole_tonnes_of_a_reduction_are_issued(local: httpx.Client) -> None:
    assert filed(local)["success"]
    reduction = {"filingNo": NUMBER, "from": "2024-01-01", "to": "2024-12-31", "verifiedTonnes": "20.999"}
    assert local.post("/office/reductions", json={"reductions": [reduction]}).json()["success"]
    order = {"filingNo": NUMBER, "from": "2024-01-01", "to": "2024-12-31", "reference": "a:1", "token": 1}
    refused = local.post("/api/credits", json={**order, "tonnes": 21})
    assert (refused.status_code, refused.json()["errorCode"]) == (409, "EXCEEDS_RESULT")
    issued = local.post("/api/credits", json={**order, "tonnes": 20}).json()
    assert (issued["reference"], issued["result"]["serialTo"]) == ("a:1", f"{NUMBER}.2024-00000020")
    assert local.post("/api/credits", json={**order, "tonnes": 20}).json() == issued
    assert local.get("/api/references", params={"reference": "a:1"}).json() == issued


@pytest.mark.parametrize(
    "wrong",
    [
        {"tonnes": "20"},
        {"tonnes": 20.0},
        {"tonnes": 0},
        {"from": "2024/1/1"},
        {"to": "2024-02-30"},
        {"to": "2023-12-31"},
        {"filingNo": 44030500000012},
        {"reference": None},
        {"token": True},
    ],
)
def test_an_order_that_is_not_understood_is_refused_and_leaves_nothing(local: httpx.Client, wrong: Json) -> None:
    order = {
        "filingNo": NUMBER, "from": "2024-01-01", "to": "2024-12-31", "tonnes": 1, "reference": "bad", "token": 9,
    }  # fmt: skip
    answer = local.post("/api/credits", json={**order, **wrong})
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "BAD_REQUEST")
    assert local.get("/api/references", params={"reference": "bad"}).status_code == 404


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", '{"filingNo": "京"}'.encode("gbk")])
def test_a_body_that_is_no_object_in_utf_8_is_refused(local: httpx.Client, body: bytes) -> None:
    assert local.post("/api/credits", content=body).json()["errorCode"] == "BAD_REQUEST"
