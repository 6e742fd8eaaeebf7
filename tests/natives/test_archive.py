"""Archives: history from published tables, every row by rule or told with file, row, column and remedy."""

import csv
import io
import shutil
from collections.abc import Sequence
from datetime import UTC, date, datetime
from importlib import resources
from pathlib import Path
from typing import Final

import openpyxl
import pytest

from soleclaim.core.serials import UnitBlock
from soleclaim.natives import NativeSettings, SettingsFault, open_native
from soleclaim.natives.archive.client import ArchiveNative
from soleclaim.natives.civil import CHINA, period_of_days
from soleclaim.registry.native import (
    NativeHistory,
    NativeIssuance,
    NativeOrder,
    NativeRefusal,
    NativeUnavailable,
    UnreadRow,
)

EXAMPLES: Final = Path(str(resources.files("soleclaim") / "sandbox/archive/panda"))
PROJECT_HEADINGS: Final = ["项目编号", "项目名称", "项目类型", "业主", "所在地"]
HEADINGS: Final = [
    "签发编号", "项目编号", "监测期开始", "监测期结束", "签发量（吨）", "起始序列号", "终止序列号", "签发日期",
]  # fmt: skip
YEAR: Final = period_of_days(date(2010, 1, 1), date(2010, 12, 31), CHINA)


def row(code: str = "20110001", **changed: str) -> list[str]:
    cells = {
        "issuance": code, "project": "PS-0001", "first": "2010-01-01", "last": "2010-12-31", "amount": "10",
        "from": "", "to": "", "issued": "2011-03-09",
    }  # fmt: skip
    return list((cells | changed).values())


def write_csv(path: Path, rows: Sequence[Sequence[str]], encoding: str = "gb18030") -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))


def write_workbook(path: Path, *rows: Sequence[object], sheet: str = "签发记录") -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.title = sheet
    headings = [heading.replace("（吨）", "（万吨）") for heading in HEADINGS]
    for each in (headings, *rows):
        book.active.append(list(each))
    book.save(path)


def archive(folder: Path, *rows: Sequence[str], encoding: str = "gb18030") -> ArchiveNative:
    """One project, and a table of issuances where rows are given."""
    write_csv(folder / "projects.csv", [PROJECT_HEADINGS, ["PS-0001", "竹林造林", "竹子造林", "某公司", "云南省"]])
    if rows:
        write_csv(folder / "issuances.csv", [HEADINGS, *rows], encoding)
    return opened(folder)


def opened(folder: Path) -> ArchiveNative:
    settings = NativeSettings(registry="panda", url=folder.as_uri(), timeout_s=1, longest_under_way_s=1)
    native = open_native("archive", settings)
    assert isinstance(native, ArchiveNative)
    return native


async def read(native: ArchiveNative) -> tuple[list[NativeHistory], list[str]]:
    """What was read, and what was not, as people are told it."""
    found = [each async for each in native.list_history()]
    history = [each for each in found if isinstance(each, NativeHistory)]
    return history, [str(each) for each in found if isinstance(each, UnreadRow)]


async def test_the_example_tables_are_read_whole() -> None:
    native = opened(EXAMPLES)
    history, unread = await read(native)
    assert unread == []
    assert [(each.native_issuance_id, each.units, len(each.blocks)) for each in history] == [
        ("20110001", 16_800, 1), ("20110002", 2_350, 0), ("20120001", 12_000, 1), ("20120002", 8_400, 1),
    ]  # fmt: skip
    first = history[0]
    assert (first.project.native_project_id, first.project.activity_type) == ("PS-0001", "forestry")
    assert (first.period, first.blocks) == (YEAR, (UnitBlock("PANDA-2011-CN-PS0001", 1, 16_800),))
    assert first.issued_on == datetime(2011, 3, 8, 16, tzinfo=UTC)
    assert first.source == "issuances-2011.csv, line 2"
    assert [each.native_issuance_id async for each in native.list_issuances()] == [
        each.native_issuance_id for each in history
    ]


async def test_an_archive_issues_nothing_and_finds_by_its_own_ids() -> None:
    native = opened(EXAMPLES)
    [refusal] = await native.issue([NativeOrder("lock-1:1", 1, "PS-0001", YEAR, 1)])
    assert isinstance(refusal, NativeRefusal)
    assert refusal.lasting
    assert not native.capabilities.issues
    found = await native.find("20110001")
    assert isinstance(found, NativeIssuance)
    assert (found.external_reference, found.units, found.period) == ("20110001", 16_800, YEAR)
    assert await native.find("20119999") is None
    assert await native.get_outcome("PS-0001", YEAR) is None
    project = await native.get_project("PS-0003")
    assert project is not None
    assert project.activity_type == "methane"
    assert await native.get_project("PS-0009") is None


async def test_a_table_that_changed_is_read_anew(tmp_path: Path) -> None:
    native = archive(tmp_path, row())
    assert len((await read(native))[0]) == 1
    write_csv(tmp_path / "issuances-late.csv", [HEADINGS, row("20110002")])
    assert len((await read(native))[0]) == 2


@pytest.mark.parametrize("written", ["2010-01-01", "2010/1/1", "20100101", "2010年1月1日", "40179"])
async def test_a_day_in_five_forms_is_one_day_or_refused(tmp_path: Path, written: str) -> None:
    history, unread = await read(archive(tmp_path, row(first=written)))
    if written == "40179":  # a spreadsheet's day number, as text: nobody wrote a day so
        assert unread == ["issuances.csv, line 2, column 监测期开始: '40179' is no day; write it as 2024-03-01"]
    else:
        assert (history[0].period, unread) == (YEAR, [])


@pytest.mark.parametrize("changed", [{"last": "9999-12-31"}, {"first": "0001-01-01"}, {"issued": "0001-01-01"}])
async def test_a_day_out_of_all_time_stops_no_other_row(tmp_path: Path, changed: dict[str, str]) -> None:
    history, unread = await read(archive(tmp_path, row(), row("20110002", **changed), row("20110003")))
    assert [each.native_issuance_id for each in history] == ["20110001", "20110003"]
    assert "lies outside of the years 1990 to 2199" in unread[0]


async def test_serials_that_nobody_calculated_are_not_taken_for_unknown(tmp_path: Path) -> None:
    archive(tmp_path)
    formula: list[object] = list(row())
    formula[4], formula[5], formula[6] = 0.001, "=A1", "=A2"
    write_workbook(tmp_path / "issuances.xlsx", formula)
    history, unread = await read(opened(tmp_path))
    assert history == []
    assert "a formula without its value" in unread[0]


@pytest.mark.parametrize("cell", [date(2010, 1, 1), datetime(2010, 1, 1), 40179, 40179.0])  # noqa: DTZ001  cells have no zone
async def test_a_day_of_a_workbook_is_read_as_date_or_number(tmp_path: Path, cell: object) -> None:
    archive(tmp_path)
    changed: list[object] = list(row())
    changed[2], changed[4] = cell, 0.001
    write_workbook(tmp_path / "issuances.xlsx", changed)
    history, unread = await read(opened(tmp_path))
    assert (history[0].period, history[0].units, unread) == (YEAR, 10, [])


@pytest.mark.parametrize(
    ("changed", "column", "why"),
    [
        ({"amount": "1.234,5"}, "签发量（吨）", "is no number"),
        ({"amount": "12,34"}, "签发量（吨）", "is no number"),
        ({"amount": "10.5"}, "签发量（吨）", "no whole number"),
        ({"amount": "0"}, "签发量（吨）", "leave the row out"),
        ({"amount": "-1"}, "签发量（吨）", "no whole number"),
        ({"amount": ""}, "签发量（吨）", "is empty"),
        ({"first": "1/3/2010"}, "监测期开始", "is no day"),
        ({"last": "2009-12-31"}, "监测期结束", "lies before"),
        ({"last": "2010-02-30"}, "监测期结束", "is no day"),
        ({"issuance": "2011A001"}, "签发编号", "is not of the form"),
        ({"project": "PS-1"}, "项目编号", "is not of the form"),
        ({"project": "PS-0007"}, "项目编号", "add it there"),
        ({"from": "PANDA-2011-CN-PS0001-1"}, "起始序列号", "is not of the form"),
        ({"from": "PANDA-2011-CN-PS0001-000000001"}, "终止序列号", "is empty"),
        (
            {"from": "PANDA-2011-CN-PS0001-000000001", "to": "PANDA-2011-CN-PS0001-000000011"},
            "终止序列号",
            "the serials are 11, the units 10",
        ),
        (
            {"from": "PANDA-2011-CN-PS0001-000000001", "to": "PANDA-2011-CN-PS0002-000000010"},
            "终止序列号",
            "split the row",
        ),
    ],
)
async def test_a_row_that_cannot_be_read_is_told_with_file_row_column_and_remedy_and_stops_no_other(
    tmp_path: Path, changed: dict[str, str], column: str, why: str
) -> None:
    native = archive(tmp_path, row(**changed), row("20110002"))
    history, unread = await read(native)
    assert [each.native_issuance_id for each in history] == ["20110002"]
    [told] = unread
    assert told.startswith(f"issuances.csv, line 2, column {column}: ")
    assert why in told
    with pytest.raises(NativeUnavailable, match=r"1 rows or files cannot be read, first: issuances\.csv, line 2"):
        await native.find("20110009")
    assert await native.find("20110002") is not None


async def test_a_mark_for_thousands_is_read(tmp_path: Path) -> None:
    history, unread = await read(archive(tmp_path, row(amount="1,234,567"), row("20110002", amount="１０")))
    assert ([each.units for each in history], unread) == ([1_234_567, 10], [])


async def test_zeros_lost_at_the_front_are_put_back_where_the_width_is_known(tmp_path: Path) -> None:
    archive(tmp_path)
    short: list[object] = list(row())
    short[0], short[4] = 1_234, "0.001"
    lost = list(short)
    lost[0] = 1.5
    write_workbook(tmp_path / "issuances.xlsx", short, lost)
    history, unread = await read(opened(tmp_path))
    assert [each.native_issuance_id for each in history] == ["00001234"]
    [told] = unread
    assert told.startswith("issuances.xlsx, line 3, column 签发编号: 1.5 became a number and lost digits")


async def test_tonnes_that_the_conversion_would_split_are_refused(tmp_path: Path) -> None:
    archive(tmp_path)
    split: list[object] = list(row())
    split[4] = "1.23456"
    write_workbook(tmp_path / "issuances.xlsx", split)
    assert "is no whole number" in (await read(opened(tmp_path)))[1][0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
async def test_a_file_in_another_encoding_is_refused_as_a_whole_and_stops_no_other(
    tmp_path: Path, encoding: str
) -> None:
    native = archive(tmp_path, row(), encoding=encoding)
    write_csv(tmp_path / "issuances-2.csv", [HEADINGS, row("20110002")])
    history, [told] = await read(native)
    assert [each.native_issuance_id for each in history] == ["20110002"]
    assert told.startswith("issuances.csv: ")


@pytest.mark.parametrize("heading", [each for each in HEADINGS if each])
async def test_a_missing_column_is_named(tmp_path: Path, heading: str) -> None:
    at = HEADINGS.index(heading)
    native = archive(tmp_path)
    write_csv(tmp_path / "issuances.csv", [line[:at] + line[at + 1 :] for line in (HEADINGS, row())])
    history, [told] = await read(native)
    assert history == []
    assert told.startswith(f"issuances.csv: column {heading} is missing")


async def test_a_workbook_that_is_cut_or_lacks_its_sheet_is_told(tmp_path: Path) -> None:
    archive(tmp_path)
    write_workbook(tmp_path / "issuances-1.xlsx", row(), sheet="Sheet1")
    write_workbook(tmp_path / "issuances-2.xlsx", row())
    whole = (tmp_path / "issuances-2.xlsx").read_bytes()
    (tmp_path / "issuances-2.xlsx").write_bytes(whole[: len(whole) // 2])
    _, [first, second] = await read(opened(tmp_path))
    assert "there is no sheet 签发记录; it has Sheet1" in first
    assert "have it sent again" in second


async def test_one_id_with_two_contents_is_told_and_the_same_row_twice_is_one(tmp_path: Path) -> None:
    native = archive(tmp_path, row(), row(), row(amount="11"))
    history, [told] = await read(native)
    assert [each.units for each in history] == [10]
    assert "20110001 says something else than in issuances.csv, line 2" in told


async def test_a_project_is_only_unknown_when_every_table_of_projects_was_read(tmp_path: Path) -> None:
    native = archive(tmp_path)
    assert await native.get_project("PS-0002") is None
    write_csv(tmp_path / "projects-2.csv", [PROJECT_HEADINGS, ["PS-2", "草地", "草地管理", "", ""]])
    with pytest.raises(NativeUnavailable, match=r"projects-2\.csv, line 2, column 项目编号"):
        await native.get_project("PS-0002")
    assert await native.get_project("PS-0001") is not None


async def test_a_folder_without_tables_or_gone_says_nothing_about_what_exists(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    native = opened(folder)
    with pytest.raises(NativeUnavailable, match="put the tables"):
        await native.find("20110001")
    shutil.rmtree(folder)
    with pytest.raises(NativeUnavailable, match="No such file"):
        await native.get_project("PS-0001")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "file://host/folder", "file:///no/such/folder"])
async def test_a_url_that_is_no_folder_is_refused(url: str) -> None:
    with pytest.raises(SettingsFault, match="file:///folder"):
        open_native("archive", NativeSettings(registry="panda", url=url, timeout_s=1, longest_under_way_s=1))
