"""Local credits by workbook: cells of a spreadsheet are read by rule or refused; the area holds in this form too."""

import csv
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Final

import openpyxl
import pytest

from soleclaim.natives import NativeSettings, open_native
from soleclaim.natives.civil import CHINA, period_of_days
from soleclaim.natives.files import ENCODING
from soleclaim.registry.native import NativeOrder, NativeRefusal, NativeUnavailable, PlantDescription

Rows = Sequence[Sequence[object]]

FILING: Final = "BFCER-110109-2023-001"
YEAR: Final = period_of_days(date(2024, 1, 1), date(2024, 12, 31), CHINA)
FIRST: Final = datetime(2024, 1, 1)  # noqa: DTZ001  a date cell of a workbook has no zone
LAST: Final = datetime(2024, 12, 31)  # noqa: DTZ001  likewise
ORDER: Final = ("申请编号", "锁令牌", "备案编号", "监测期起始日", "监测期截止日", "签发数量（吨）")
HEADINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "备案项目": ("备案编号", "项目名称", "申请单位", "项目类别", "行政区划代码", "省级行政区", "投资项目代码"),
    "核证减排量": ("备案编号", "监测期起始日", "监测期截止日", "核证减排量（吨二氧化碳当量）"),
    "已签发减排量": (*ORDER, "签发编号", "减排量批次", "起始编号", "截止编号"),
    "退回申请": (*ORDER, "退回代码", "退回原因"),
}
PROJECT: Final = (FILING, "门头沟造林碳汇", "某林场", "林业碳汇", "110109", "北京市", None)
ISSUANCE: Final = ("r:1", 1, FILING, FIRST, LAST, 10, "QF1", "批次一", "0000000001", "0000000010")


class Exchange:
    """A folder that a registry delivers into, as it is told."""

    def __init__(self, folder: Path) -> None:
        self.inbox = folder / "from-registry"
        self.outbox = folder / "to-registry"
        for each in (self.inbox, self.outbox):
            each.mkdir()
        settings = NativeSettings(registry="bfcer", url=folder.as_uri(), timeout_s=10, longest_under_way_s=1)
        self.native = open_native("local", settings)

    def deliver(self, tables: Mapping[str, Rows], *, without: str = "") -> None:
        """A whole delivery with these rows; ``without``: a sheet, or a heading, that is left out."""
        book = openpyxl.Workbook()
        for table, headings in HEADINGS.items():
            if table == without:
                continue
            sheet = book.create_sheet(table)
            kept = [place for place, heading in enumerate(headings) if heading != without]
            for line in (headings, *tables.get(table, ())):
                sheet.append([line[place] for place in kept])
        written = io.BytesIO()
        book.save(written)
        self.put(written.getvalue(), {table: len(tables.get(table, ())) for table in HEADINGS})

    def put(self, content: bytes, rows: Mapping[str, int]) -> None:
        (self.inbox / "000001-delivery.xlsx").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        lines = [(1, 1, table, "000001-delivery.xlsx", digest, count) for table, count in rows.items()]
        manifest = io.StringIO(newline="")
        csv.writer(manifest).writerows([("批次号", "修订号", "表", "文件名", "SHA-256", "行数"), *lines])
        (self.inbox / "000001-manifest.csv").write_bytes(manifest.getvalue().encode(ENCODING))


@pytest.fixture
async def exchange(tmp_path: Path) -> AsyncIterator[Exchange]:
    made = Exchange(tmp_path)
    yield made
    await made.native.close()


async def test_a_project_is_read_with_what_tells_it_from_its_look_alikes(exchange: Exchange) -> None:
    exchange.deliver({"备案项目": [PROJECT]})
    project = await exchange.native.get_project(FILING)
    assert project is not None
    assert (project.activity_type, project.identifiers) == ("afforestation", ())
    assert project.description == PlantDescription(owner="某林场", region="北京市")


@pytest.mark.parametrize("division", [110109, 110109.0, "１１０１０９"])
async def test_a_code_that_became_a_number_without_loss_is_read(exchange: Exchange, division: object) -> None:
    exchange.deliver({"备案项目": [(*PROJECT[:4], division, *PROJECT[5:])]})
    assert await exchange.native.get_project(FILING) is not None


@pytest.mark.parametrize(("place", "cell"), [(4, "310101"), (4, 1101), (0, 20240301), (1, 7), (1, None), (6, 4.5e11)])
async def test_a_project_that_cannot_be_read_is_not_taken_for_none(
    exchange: Exchange, place: int, cell: object
) -> None:
    bad: list[object] = [*PROJECT]
    bad[place] = cell
    good = ("BFCER-110109-2023-002", *PROJECT[1:])
    exchange.deliver({"备案项目": [bad, good]})
    assert await exchange.native.get_project("BFCER-110109-2023-002") is not None
    with pytest.raises(NativeUnavailable, match=f"line 2, column {HEADINGS['备案项目'][place]}"):
        await exchange.native.get_project(FILING)


@pytest.mark.parametrize(
    ("first", "last"),
    [(FIRST, LAST), ("2024-01-01", "2024/12/31"), (20240101, "20241231"), ("2024年1月1日", 45657),
     (45292.0, date(2024, 12, 31))],
)  # fmt: skip
@pytest.mark.parametrize(
    ("tonnes", "kg"), [("1,234.567", 1_234_567), (1234.5, 1_234_500), (1234, 1_234_000), ("1.2E+3", 1_200_000)]
)
async def test_days_and_amounts_are_read_exactly(
    exchange: Exchange, first: object, last: object, tonnes: object, kg: int
) -> None:
    exchange.deliver({"核证减排量": [(FILING, first, last, tonnes)]})
    outcome = await exchange.native.get_outcome(FILING, YEAR)
    assert outcome is not None
    assert (outcome.base_unit, outcome.quantity, outcome.period) == ("kgCO2e", kg, YEAR)


@pytest.mark.parametrize(
    ("first", "tonnes", "column"),
    [(FIRST, "1,23", "核证"), (FIRST, 0.1234, "核证"), (FIRST, "1234.5678", "核证"), (FIRST, -1, "核证"),
     (FIRST, True, "核证"), ("01/01/2024", 1, "监测期起始日"), (FIRST.replace(hour=8), 1, "监测期起始日"),
     (LAST.replace(year=2025), 1, "监测期截止日")],
)  # fmt: skip
async def test_days_and_amounts_that_could_be_others_are_refused(
    exchange: Exchange, first: object, tonnes: object, column: str
) -> None:
    exchange.deliver({"核证减排量": [(FILING, first, LAST, tonnes)]})
    with pytest.raises(NativeUnavailable, match=f"cannot be read, first: line 2, column {column}"):
        await exchange.native.get_outcome(FILING, YEAR)


async def test_serials_that_lost_their_zeros_get_them_back(exchange: Exchange) -> None:
    exchange.deliver({"已签发减排量": [(*ISSUANCE[:8], 1, 10.0)]})
    issuance = await exchange.native.find("r:1")
    assert issuance is not None
    assert (issuance.blocks[0].start, issuance.blocks[0].end, issuance.units) == (1, 10, 10)


@pytest.mark.parametrize("missing", ["退回申请", "退回原因", "截止编号", "投资项目代码"])
async def test_a_missing_sheet_or_column_makes_no_delivery(exchange: Exchange, missing: str) -> None:
    exchange.deliver({}, without=missing)
    with pytest.raises(NativeUnavailable, match=rf"no whole delivery has come, .*{missing}"):
        await exchange.native.find("r:1")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", "备案编号\n".encode(ENCODING)])
async def test_what_is_no_workbook_makes_no_delivery(exchange: Exchange, content: bytes) -> None:
    exchange.put(content, dict.fromkeys(HEADINGS, 0))
    with pytest.raises(NativeUnavailable, match=r"not a whole \.xlsx workbook"):
        await exchange.native.find("r:1")


@pytest.mark.parametrize("damage", [b"<row", b"\x00"])
async def test_a_broken_sheet_makes_no_delivery(exchange: Exchange, damage: bytes) -> None:
    exchange.deliver({"已签发减排量": [ISSUANCE]})
    whole = zipfile.ZipFile(exchange.inbox / "000001-delivery.xlsx")
    written = io.BytesIO()
    with whole, zipfile.ZipFile(written, "w") as broken:
        for name in whole.namelist():
            content = whole.read(name)
            broken.writestr(name, content[:-20] + damage if name.endswith("sheet4.xml") else content)
    exchange.put(written.getvalue(), {table: int(table == "已签发减排量") for table in HEADINGS})
    with pytest.raises(NativeUnavailable, match="the sheet cannot be read"):
        await exchange.native.find("r:1")


@pytest.mark.parametrize(
    ("filing", "code"),
    [("BFCER-310101-2023-001", "PROJECT_OUTSIDE_AREA"), ("110109-2023-001", "FILING_NUMBER_UNFIT")],
)
async def test_an_order_outside_the_area_is_refused_unsent(exchange: Exchange, filing: str, code: str) -> None:
    exchange.deliver({})
    [result] = await exchange.native.issue([NativeOrder("r:1", 1, filing, YEAR, 1)])
    assert isinstance(result, NativeRefusal)
    assert (result.code, result.lasting) == (code, True)
    assert list(exchange.outbox.iterdir()) == []
