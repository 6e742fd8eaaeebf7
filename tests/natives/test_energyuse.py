"""Energy-use exchanges: cells are read by rule or refused, one bad row stops no other, coal is converted exactly."""

import csv
import hashlib
import io
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, TypeVar

import pytest

from soleclaim.natives import NativeSettings, open_native
from soleclaim.natives.civil import CHINA, period_of_days
from soleclaim.natives.energyuse.client import ACTIVITY_TYPES, EnergyUseNative
from soleclaim.natives.files import ENCODING, UNREAD_ROWS
from soleclaim.policy.bundle import default_bundle
from soleclaim.registry.native import NativeCoverage, NativeUnavailable, PlantDescription

Rows = Sequence[Sequence[object]]
Row = TypeVar("Row")

ORDER: Final = ("申请编号", "锁令牌", "项目编号", "开始日期", "结束日期", "指标数量（吨标准煤）")
HEADINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "projects": ("项目编号", "项目名称", "单位名称", "项目类型", "投资项目代码"),
    "savings": ("项目编号", "开始日期", "结束日期", "节能量", "计量单位"),
    "issuances": (*ORDER, "签发编号", "指标批次", "起始序号", "终止序号"),
    "refusals": (*ORDER, "代码", "原因"),
    "entities": (
        "记录编号", "更正记录编号", "单位编号", "单位名称", "投资项目代码", "行业", "纳入边界", "纳入日期",
        "退出日期", "是否撤销",
    ),
}  # fmt: skip
YEAR: Final = period_of_days(date(2024, 1, 1), date(2024, 12, 31), CHINA)
SAVING: Final = ("0350000001", "2024-01-01", "2024-12-31", "10", "吨标准煤")
ISSUANCE: Final = (
    "lock-1:1", "1", "0350000001", "2024-01-01", "2024-12-31", "1234", "QF1", "闽用能", "0000000001", "0000001234"
)  # fmt: skip
ENTRY: Final = ("1", "", "0350000007", "三明水泥厂", "", "水泥", "全厂", "2022-04-01", "", "否")


class Exchange:
    """A folder that a registry delivers into, as it is told."""

    def __init__(self, folder: Path, registry: str) -> None:
        self.inbox = folder / "from-registry"
        self.registry = registry
        for each in (self.inbox, folder / "to-registry"):
            each.mkdir()
        native = open_native(
            "energyuse",
            NativeSettings(registry=registry, url=folder.as_uri(), timeout_s=10, longest_under_way_s=1),
        )
        assert isinstance(native, EnergyUseNative)
        self.native = native
        self.number = 0

    def deliver(
        self, tables: Mapping[str, Rows] = {}, *, encoding: str = ENCODING, without: str = "", **more: Rows
    ) -> None:
        """A whole delivery with these rows; ``encoding`` and a column left out concern the tables named."""
        tables = {**tables, **more}
        self.number += 1
        lines: list[Sequence[object]] = [("批次号", "修订号", "表", "文件名", "SHA-256", "行数")]
        for table, headings in HEADINGS.items():
            rows = [dict(zip(headings, row, strict=True)) for row in tables.get(table, ())]
            kept = [each for each in headings if each != without or table not in tables]
            content = as_csv([kept, *([row[each] for each in kept] for row in rows)], encoding if rows else ENCODING)
            name = f"{self.number:06d}-{table}.csv"
            (self.inbox / name).write_bytes(content)
            lines.append((self.number, 1, table, name, hashlib.sha256(content).hexdigest(), len(rows)))
        (self.inbox / f"{self.number:06d}-manifest.csv").write_bytes(as_csv(lines, ENCODING))

    def unread(self, table: str) -> float:
        [family] = UNREAD_ROWS.collect()
        of = {"registry": self.registry, "table": table}
        [found] = [sample.value for sample in family.samples if sample.labels == of]
        return found

    async def covered(self) -> list[NativeCoverage]:
        return [each async for each in self.native.list_coverage()]


async def read_all(rows: AsyncIterator[Row]) -> tuple[list[Row], str]:
    """What was listed, and why it ended before its end."""
    read: list[Row] = []
    try:
        async for row in rows:
            read.append(row)  # noqa: PERF401  what came before the error counts
    except NativeUnavailable as error:
        return read, str(error)
    return read, ""


def as_csv(lines: Rows, encoding: str) -> bytes:
    written = io.StringIO(newline="")
    csv.writer(written).writerows(lines)
    return written.getvalue().encode(encoding)


@pytest.fixture
def registry() -> str:
    return "eur-fj"


@pytest.fixture
async def exchange(tmp_path: Path, registry: str) -> AsyncIterator[Exchange]:
    made = Exchange(tmp_path, registry)
    yield made
    await made.native.close()


# --- cells ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["projects", "savings", "issuances", "entities"])
async def test_a_table_in_the_wrong_encoding_makes_no_delivery(exchange: Exchange, table: str) -> None:
    rows: dict[str, Rows] = {
        "projects": [("0350000001", "名称", "某水泥公司", "余热利用", "")],
        "savings": [SAVING],
        "issuances": [ISSUANCE],
        "entities": [ENTRY],
    }
    exchange.deliver({table: rows[table]}, encoding="utf-8")
    with pytest.raises(NativeUnavailable, match=f"{table}: the file is written in UTF-8 where gb18030 is agreed"):
        await exchange.native.find("lock-1:1")


async def test_characters_of_gb18030_alone_are_read(exchange: Exchange) -> None:
    exchange.deliver(projects=[("0350000001", "㙍头镇𠮷水泥厂", "某水泥公司", "余热利用", "")])
    project = await exchange.native.get_project("0350000001")
    assert project is not None
    assert project.name == "㙍头镇𠮷水泥厂"
    assert project.description == PlantDescription(owner="某水泥公司", region="福建省")


@pytest.mark.parametrize(
    ("table", "column"), [("savings", "节能量"), ("issuances", "终止序号"), ("entities", "退出日期")]
)
async def test_a_missing_column_makes_no_delivery(exchange: Exchange, table: str, column: str) -> None:
    exchange.deliver({table: []}, without=column)
    with pytest.raises(NativeUnavailable, match=f"{table}: column {column} is missing"):
        await exchange.native.find("lock-1:1")


@pytest.mark.parametrize(
    ("first", "last"),
    [("2024-01-01", "2024-12-31"), ("2024/1/1", "2024/12/31"), ("20240101", "20241231"),
     ("2024年1月1日", "2024年12月31日"), ("45292", "45657"), ("2024-01-01 00:00:00", "2024-12-31 00:00:00")],
)  # fmt: skip
async def test_days_are_read_in_every_form_or_refused(exchange: Exchange, first: str, last: str) -> None:
    exchange.deliver(savings=[("0350000001", first, last, "10", "吨标准煤")])
    if first == "45292":
        with pytest.raises(NativeUnavailable, match="'45292' is no day; write it as 2024-03-01"):
            await exchange.native.get_outcome("0350000001", YEAR)
        return
    outcome = await exchange.native.get_outcome("0350000001", YEAR)
    assert outcome is not None
    assert outcome.period == YEAR


@pytest.mark.parametrize(
    ("amount", "kgce"),
    [
        ("1,234.5", 1_234_500),
        ("1234.500", 1_234_500),
        ("12.0", 12_000),
        ("1.2E+3", 1_200_000),
        ("０.００１", 1),
        ("0", 0),
    ],
)
async def test_amounts_are_read_exactly(exchange: Exchange, amount: str, kgce: int) -> None:
    exchange.deliver(savings=[(*SAVING[:3], amount, "吨标准煤")])
    outcome = await exchange.native.get_outcome("0350000001", YEAR)
    assert outcome is not None
    assert (outcome.base_unit, outcome.quantity) == ("kgce", kgce)


@pytest.mark.parametrize(
    "amount", ["1,23", "12.3456", "1234567.1234567", "-1", "约10", "", "NaN", "1e99", f"0.{'1' * 40}"]
)
async def test_amounts_that_could_be_another_are_refused(exchange: Exchange, amount: str) -> None:
    exchange.deliver(savings=[(*SAVING[:3], amount, "吨标准煤")])
    with pytest.raises(NativeUnavailable, match=r"1 row.* of savings cannot be read, first: line 2, column 节能量"):
        await exchange.native.get_outcome("0350000001", YEAR)


async def test_zeros_that_a_spreadsheet_dropped_come_back(exchange: Exchange) -> None:
    row = [*ISSUANCE]
    row[2], row[5], row[8], row[9] = "350000001", "1,234", "1", "1234.0"
    exchange.deliver(issuances=[row], projects=[("350000001", "水泥厂余热", "某水泥公司", "余热利用", "")])
    with pytest.raises(NativeUnavailable, match=r"column 终止序号: '1234\.0' is not of the form"):
        await exchange.native.find("lock-2:1")
    row[9] = "1234"
    exchange.deliver(issuances=[row], projects=[("350000001", "水泥厂余热", "某水泥公司", "余热利用", "")])
    issuance = await exchange.native.find("lock-1:1")
    assert issuance is not None
    assert (issuance.native_project_id, issuance.units, issuance.blocks[0].end) == ("0350000001", 1_234, 1_234)
    assert await exchange.native.get_project("0350000001") is not None


@pytest.mark.parametrize(
    ("place", "value", "column"),
    [(5, "1233", "指标数量（吨标准煤）"), (5, "0", "指标数量（吨标准煤）"), (5, "1234.5", "指标数量（吨标准煤）"),
     (1, "", "锁令牌"), (2, "3.5E+08", "项目编号"), (4, "2023-12-31", "结束日期"), (4, "9999-12-31", "结束日期"),
     (6, "", "签发编号"), (7, "批\x07次", "指标批次"), (8, "0000001235", "起始序号"), (0, "锁", "申请编号")],
)  # fmt: skip
async def test_one_bad_row_stops_no_other_and_hides_nothing(
    exchange: Exchange, caplog: pytest.LogCaptureFixture, place: int, value: str, column: str
) -> None:
    bad, good = [*ISSUANCE], [*ISSUANCE]
    bad[place] = value
    good[0], good[6], good[7] = "lock-2:1", "QF2", "另一批"
    exchange.deliver(issuances=[bad, good])
    found = await exchange.native.find("lock-2:1")
    assert found is not None
    listed, fault = await read_all(exchange.native.list_issuances())
    assert (listed, fault.startswith(f"1 of 2 issuances cannot be read, first: line 2, column {column}")) == (
        [found],
        True,
    ), fault
    with pytest.raises(NativeUnavailable, match="cannot be read"):
        await exchange.native.find("lock-3:1")
    assert exchange.unread("issuances") == 1
    assert f"registry eur-fj: 000001-issuances.csv, issuances: line 2, column {column}" in caplog.text
    exchange.deliver(issuances=[good])
    assert await exchange.native.find("lock-3:1") is None
    assert exchange.unread("issuances") == 0


async def test_rows_that_contradict_each_other_say_nothing(exchange: Exchange) -> None:
    twin = [*ISSUANCE]
    twin[0] = "lock-2:1"
    exchange.deliver(issuances=[ISSUANCE, twin], savings=[SAVING, (*SAVING[:3], "11", "吨标准煤")])
    _, fault = await read_all(exchange.native.list_issuances())
    assert fault == "2 of 2 issuances cannot be read, first: issuance QF1 is listed in two versions"
    with pytest.raises(NativeUnavailable, match="savings has 2 rows for it"):
        await exchange.native.get_outcome("0350000001", YEAR)
    exchange.deliver(issuances=[ISSUANCE], refusals=[(*ISSUANCE[:6], "STALE_TOKEN", "旧令牌")])
    with pytest.raises(NativeUnavailable, match="listed as issued and as refused"):
        await exchange.native.find("lock-1:1")


# --- raw coal -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("registry", ["eur-hen"])
@pytest.mark.parametrize(
    ("amount", "kgce"),
    [("10", 7_143), ("1,000", 714_300), ("0.01", None), ("12.5", None), ("1234567890", 881_851_843_827)],
)
async def test_raw_coal_is_converted_exactly_or_refused(exchange: Exchange, amount: str, kgce: int | None) -> None:
    exchange.deliver(savings=[("HEN-2024-00001", "2024-01-01", "2024-12-31", amount, "吨原煤")])
    if kgce is None:
        with pytest.raises(NativeUnavailable, match=f"{amount} at 714.3 kgce each make no whole number of kgce"):
            await exchange.native.get_outcome("HEN-2024-00001", YEAR)
        return
    outcome = await exchange.native.get_outcome("HEN-2024-00001", YEAR)
    assert outcome is not None
    assert (outcome.base_unit, outcome.quantity) == ("kgce", kgce)


async def test_raw_coal_is_no_unit_where_none_is_traded(exchange: Exchange) -> None:
    exchange.deliver(savings=[(*SAVING[:4], "吨原煤")])
    with pytest.raises(NativeUnavailable, match="column 计量单位: '吨原煤' is none of 吨标准煤"):
        await exchange.native.get_outcome("0350000001", YEAR)


# --- entities -------------------------------------------------------------------------------------------------------


async def test_entities_are_listed_with_their_days_and_corrections(exchange: Exchange) -> None:
    correction = ("2", "1", "350000007", "三明水泥厂", "2509-320193-89-01-544060", "水泥", "全厂", "2022/4/1",
                  "2024年6月30日", "否")  # fmt: skip
    withdrawn = ("3", "2", *ENTRY[2:9], "是")
    exchange.deliver(entities=[ENTRY, correction, withdrawn])
    first, second, third = await exchange.covered()
    assert (first.start, first.end) == (datetime(2022, 3, 31, 16, tzinfo=UTC), None)
    assert (second.corrects, second.end) == ("1", datetime(2024, 6, 30, 16, tzinfo=UTC))
    assert second.project.native_project_id == first.project.native_project_id == "0350000007"
    assert second.project.identifiers == (("cn_project_code", "2509-320193-89-01-544060"),)
    assert (first.withdrawn, third.withdrawn) == (False, True)


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [(9, "", "column 是否撤销"), (8, "2021-01-01", "column 退出日期"), (7, "01/04/2022", "column 纳入日期"),
     (1, "9", "1 corrects 9, which is not listed before it"), (4, "123", "column 投资项目代码")],
)  # fmt: skip
async def test_a_statement_that_cannot_be_read_hides_no_other(
    exchange: Exchange, place: int, value: str, why: str
) -> None:
    bad, good = [*ENTRY], ("5", *ENTRY[1:])
    bad[place] = value
    exchange.deliver(entities=[bad, good])
    read, fault = await read_all(exchange.native.list_coverage())
    assert ([each.statement_id for each in read], why in fault) == (["5"], True), fault


async def test_the_list_of_entities_needs_the_newest_delivery(exchange: Exchange) -> None:
    exchange.deliver(entities=[ENTRY])
    (exchange.inbox / "000002-entities.csv").write_bytes(b"")
    with pytest.raises(NativeUnavailable, match="a newer one is not whole: 000002"):
        await exchange.covered()


# --- the family -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["eur-zj", "eur-fj", "eur-hen", "eur-sc", "eur-gd"])
def test_every_exchange_is_known_to_both_sides_and_to_the_policy(code: str, tmp_path: Path) -> None:
    bundle = default_bundle()
    assert code in bundle.registries
    assert bundle.instruments[code.upper()].base_unit == "kgce"
    assert Exchange(tmp_path, code).native.capabilities.max_batch == 1


def test_every_activity_type_is_a_code() -> None:
    assert [each for each in ACTIVITY_TYPES.values() if not re.fullmatch("[A-Za-z0-9_-]{1,32}", each)] == []
