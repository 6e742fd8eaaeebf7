"""The stand-in of a power exchange: stations, settlement lines and their corrections."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from soleclaim.sandbox.server import running
from soleclaim.sandbox.stand_in import StandIn

Json = dict[str, Any]

FILING_CODE = "TEST0000000000001"
LINE: Json = {
    "filingCode": FILING_CODE, "contractNo": "GZ-LD-00000001", "month": "2025-03", "energy": "1.500",
    "buyerCode": "91110000100003962T",
    "certificates": [{"startCode": f"{FILING_CODE}20250300000011T", "endCode": f"{FILING_CODE}20250300000021T"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    stand_in = StandIn(tmp_path_factory.mktemp("greenpower") / "native.db", "gp-gz")
    with (
        running("greenpower", stand_in) as url,
        httpx.Client(base_url=url, trust_env=False, verify=False) as http,  # noqa: S501  plain HTTP
    ):
        station = {
            "filingCode": FILING_CODE, "stationName": "风电场", "owner": "业主", "energyType": "风电",
            "province": "云南省",
        }  # fmt: skip
        http.post("/office/stations", json={"stations": [station]}).raise_for_status()
        yield http


def settle(http: httpx.Client, **changed: object) -> Json:
    answer: Json = http.post("/office/settlements", json={"lines": [{**LINE, **changed}]}).json()
    return answer


def test_lines_are_numbered_and_listed_in_the_order_made(exchange: httpx.Client) -> None:
    [first] = settle(exchange)["settlementNos"]
    [second] = settle(exchange, corrects=first, energy="0", certificates=[])["settlementNos"]
    lines = exchange.get("/trade/v1/settlements", params={"page": 1, "size": 1000}).json()
    assert lines["total"] == len(lines["lines"])
    assert [(line["settlementNo"], line["corrects"]) for line in lines["lines"][-2:]] == [
        (first, None),
        (second, first),
    ]
    assert lines["lines"][-2]["certificates"][0]["count"] == 2


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"filingCode": "TEST0000000000009"}, "STATION_NOT_FOUND"),
        ({"corrects": "GZ/2025/99999999"}, "LINE_NOT_FOUND"),
        ({"contractNo": "1"}, "BAD_REQUEST"),
        ({"energy": "1.5005"}, "BAD_REQUEST"),
        ({"month": "2025-13"}, "BAD_REQUEST"),
        ({"certificates": [{**LINE["certificates"][0], "endCode": f"{FILING_CODE}20250300000001T"}]}, "BAD_REQUEST"),
    ],
)
def test_the_desk_refuses_what_it_cannot_settle(exchange: httpx.Client, changed: Json, code: str) -> None:
    answer = settle(exchange, **changed)
    assert answer["status"] != 0
    assert answer["message"].startswith(code)


def test_a_certificate_that_moved_is_settled_again_since_exchanges_err(exchange: httpx.Client) -> None:
    assert settle(exchange)["status"] == settle(exchange)["status"] == 0


def test_an_exchange_that_is_not_in_the_data_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("none") / "native.db"
    with pytest.raises(ValueError, match="gp-bj, gp-gz, gp-nm"), running("greenpower", StandIn(path, "gp-xx")):
        pass
