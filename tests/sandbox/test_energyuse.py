"""The stand-in of an energy-use exchange: files in, files out, once a night."""

import csv
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from soleclaim.sandbox.server import running
from soleclaim.sandbox.stand_in import StandIn

HEADINGS: Final = "申请编号,锁令牌,项目编号,开始日期,结束日期,指标数量（吨标准煤）"
PROJECT: Final = "HEN-2024-00001"
WAIT_S: Final = 10


class Office:
    """A stand-in over HTTP and its folder."""

    def __init__(self, url: str, folder: Path) -> None:
        self.http = httpx.Client(base_url=url, trust_env=False, verify=False, timeout=10)  # noqa: S501  plain HTTP
        self.inbox, self.outbox = folder / "from-registry", folder / "to-registry"

    def post(self, path: str, /, **body: object) -> dict[str, Any]:
        answer: dict[str, Any] = self.http.post(path, json=body).json()
        return answer

    def order(self, name: str, row: str, *, headings: str = HEADINGS, encoding: str = "gb18030") -> None:
        content = f"{headings}\n{row}\n".encode(encoding)
        (self.outbox / f"order-{name}.csv").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        (self.outbox / f"order-{name}.csv.sha256").write_text(f"{digest}  order-{name}.csv\n")

    def table(self, name: str) -> list[list[str]]:
        """Rows of the newest delivery."""
        newest = max(self.inbox.glob(f"*-{name}.csv"))
        return list(csv.reader(newest.read_bytes().decode("gb18030").splitlines()))[1:]

    def acknowledged(self, name: str) -> str:
        [row] = list(csv.reader((self.inbox / f"ack-order-{name}.csv").read_bytes().decode("gb18030").splitlines()))[1:]
        return row[2]


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path / "native.db", "eur-hen", folder=tmp_path)


@pytest.fixture
def office(stand_in: StandIn, tmp_path: Path) -> Iterator[Office]:
    with running("energyuse", stand_in) as url:
        made = Office(url, tmp_path)
        project = {
            "projectNo": PROJECT,
            "name": "余热发电",
            "owner": "某公司",
            "uscc": "91410500MA4UQ0001X",
            "kind": "x",
        }
        assert made.post("/office/projects", projects=[project])["accepted"] == 1
        saving = {"projectNo": PROJECT, "from": "2024-01-01", "to": "2024-12-31", "amount": "1000", "unit": "吨原煤"}
        assert made.post("/office/savings", savings=[saving])["accepted"] == 1
        yield made
        made.http.close()


def test_an_order_is_issued_once_however_often_it_is_read(office: Office) -> None:
    office.order("a", f"r:1,1,{PROJECT},2024-01-01,2024-12-31,714")
    assert office.post("/night") == {"result": "ok", "delivery": "000001", "revision": 1, "orders": ["order-a.csv"]}
    office.post("/night")
    [row] = office.table("issuances")
    assert row[:6] == ["r:1", "1", PROJECT, "2024-01-01", "2024-12-31", "714"]
    assert row[7:] == ["豫用能-2024-HEN-2024-00001", "0000000001", "0000000714"]
    assert office.acknowledged("a") == "已接收"


def test_a_refused_reference_is_never_taken_again(office: Office) -> None:
    office.order("a", f"r:1,1,{PROJECT},2024-01-01,2024-12-31,715")
    office.post("/night")
    office.order("a", f"r:1,1,{PROJECT},2024-01-01,2024-12-31,1")
    office.post("/night")
    [row] = office.table("refusals")
    assert (row[0], row[5], row[6]) == ("r:1", "715", "EXCEEDS_RESULT")
    assert office.table("issuances") == []


@pytest.mark.parametrize(
    ("changed", "headings", "encoding"),
    [(True, HEADINGS, "gb18030"), (False, "申请编号", "gb18030"), (False, HEADINGS, "utf-8")],
)
def test_a_file_that_cannot_be_read_is_rejected_as_a_whole(
    office: Office, headings: str, encoding: str, *, changed: bool
) -> None:
    office.order("a", f"r:1,1,{PROJECT},2024-01-01,2024-12-31,1", headings=headings, encoding=encoding)
    if changed:
        (office.outbox / "order-a.csv").write_bytes(b"")
    assert office.post("/night")["orders"] == []
    assert office.acknowledged("a") == "已拒收"
    assert office.table("refusals") == office.table("issuances") == []


def test_a_file_without_its_hash_waits(office: Office) -> None:
    office.order("a", f"r:1,1,{PROJECT},2024-01-01,2024-12-31,1")
    (office.outbox / "order-a.csv.sha256").unlink()
    assert office.post("/night")["orders"] == []
    assert list(office.inbox.glob("ack-*")) == []


def test_what_is_retired_moves_no_more(office: Office) -> None:
    office.order("a", f"r:1,1,{PROJECT},2024-01-01,2024-12-31,100")
    office.post("/night")
    part = {"series": "豫用能-2024-HEN-2024-00001", "from": 1, "to": 60, "day": "2025-01-02"}
    trade = {**part, "seller": "HEN-E00001", "buyer": "HEN-E00002"}
    assert office.post("/office/trades", trades=[trade])["result"] == "ok"
    assert office.post("/office/retirements", retirements=[{**part, "entityNo": "HEN-E00002"}])["result"] == "ok"
    again = office.post("/office/retirements", retirements=[{**part, "from": 60, "to": 61, "entityNo": "HEN-E00003"}])
    assert again["code"] == "RETIRED"
    assert office.post("/office/trades", trades=[{**trade, "from": 100, "to": 101}])["code"] == "NOT_ISSUED"
    office.post("/night")
    assert [row[0] for row in office.table("movements")] == ["交易", "注销"]


def test_savings_are_stated_in_units_of_the_exchange(office: Office) -> None:
    saving = {"projectNo": PROJECT, "from": "2023-01-01", "to": "2023-12-31", "amount": "1", "unit": "吨煤"}
    assert office.post("/office/savings", savings=[saving])["code"] == "BAD_REQUEST"


def test_nights_come_by_themselves_when_told_so(office: Office) -> None:
    assert office.http.put("/night", json={"night_s": -1}).status_code == 400
    assert office.http.put("/night", json={"night_s": 0.05}).json()["night_s"] == 0.05
    end = time.monotonic() + WAIT_S
    while len(list(office.inbox.glob("*-manifest.csv"))) < 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert office.http.put("/night", json={"night_s": 0}).status_code == 200


def test_numbers_of_deliveries_go_on_after_a_restart(stand_in: StandIn, tmp_path: Path) -> None:
    for number in ("000001", "000002"):
        with running("energyuse", stand_in) as url, Office(url, tmp_path).http as http:
            assert http.post("/night").json()["delivery"] == number


@pytest.mark.parametrize(("registry", "folder", "why"), [("eur-xx", True, "eur-fj"), ("eur-hen", False, "--folder")])
def test_what_is_missing_is_named(tmp_path: Path, registry: str, why: str, *, folder: bool) -> None:
    given = StandIn(tmp_path / "native.db", registry, folder=tmp_path if folder else None)
    with pytest.raises(ValueError, match=why), running("energyuse", given):
        pass
