"""Cells of tables are read by rule, or refused; one bad row stops no other."""

import io
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal

import openpyxl
import pytest

from soleclaim.natives.cells import (
    CellFault,
    Cells,
    RowFault,
    TableFault,
    day,
    exact,
    identifier,
    optional_day,
    optional_text,
    read_csv,
    read_rows,
    read_workbook,
    text,
    whole,
)

MARCH = datetime(2024, 3, 1)  # noqa: DTZ001  a date cell of a workbook has no zone


@pytest.mark.parametrize(
    "cell",
    ["2024-03-01", "2024/3/1", "20240301", 20240301, 20240301.0, "2024年3月1日", MARCH,
     date(2024, 3, 1), 45352, 45352.0,
     "2024-03-01 00:00:00", "２０２４-０３-０１"],
)  # fmt: skip
def test_a_day_is_read_in_every_form_that_registries_write(cell: object) -> None:
    assert day(cell) == date(2024, 3, 1)


@pytest.mark.parametrize(
    "cell",
    ["01/03/2024", "3/1/24", "2024-3", "2024-02-30", MARCH.replace(hour=8), 240301, "", None, True, "March 1",
     "9999-12-31", "0001-01-01", "1899-12-31"],
)  # fmt: skip
def test_a_day_that_could_be_another_is_refused(cell: object) -> None:
    with pytest.raises(CellFault):
        day(cell)


@pytest.mark.parametrize(
    ("cell", "number"),
    [("1,234,567.5", "1234567.5"), ("1234", "1234"), (12.0, "12"), ("1.2E+3", "1200"), (0.1, "0.1"), ("-3.50", "-3.50"),
     (7, "7"), ("１２", "12")],
)  # fmt: skip
def test_a_number_is_read_exactly(cell: object, number: str) -> None:
    assert exact(cell) == Decimal(number)


@pytest.mark.parametrize(
    "cell", ["1,23", "1.234,5", "12 000", "~12", "", None, "NaN", "Infinity", 1234567890.1234567, True]
)
def test_a_number_that_could_be_another_is_refused(cell: object) -> None:
    with pytest.raises(CellFault):
        exact(cell)


def test_a_whole_number_may_have_become_a_float_but_not_lost_anything() -> None:
    assert [whole(cell) for cell in (12.0, "12.0", "1.2E+3", "1,200", 0)] == [12, 12, 1200, 1200, 0]
    for cell in (12.5, "-1", "1E30", "9300000000000000000"):
        with pytest.raises(CellFault):
            whole(cell)


def test_zeros_that_a_spreadsheet_dropped_come_back_only_where_the_width_is_stated() -> None:
    fixed = identifier(r"[0-9]{6}", width=6)
    assert [fixed(cell) for cell in ("000007", "7", 7, 7.0)] == ["000007"] * 4
    free = identifier(r"0[0-9]{5}")
    with pytest.raises(CellFault, match="format the column as text"):
        free(7)
    with pytest.raises(CellFault, match="lost digits"):
        fixed(1.2345678901234567e19)


def test_texts_hold_no_control_characters() -> None:
    assert text("  风电场 ") == "风电场"
    assert optional_text("  ") is None
    for cell in ("a\x00b", "x" * 1001, None, 5):
        with pytest.raises(CellFault):
            text(cell)


@pytest.mark.parametrize("cell", ["#N/A", "#REF!", "#DIV/0!", "#NAME?", "########"])
def test_what_a_spreadsheet_shows_in_place_of_a_value_is_none(cell: str) -> None:
    with pytest.raises(CellFault, match="in place of a value"):
        optional_text(cell)
    assert text("#1 风电场") == "#1 风电场"


def test_utf8_is_not_taken_for_gb18030() -> None:
    content = "项目,数量\n甲,1\n"
    assert read_csv(content.encode("gb18030"), encoding="gb18030", columns=["项目"])[0].values == {
        "项目": "甲",
        "数量": "1",
    }
    with pytest.raises(TableFault, match="UTF-8 where gb18030 is agreed"):
        read_csv(content.encode(), encoding="gb18030", columns=["项目"])
    with pytest.raises(TableFault, match="not gb18030"):
        read_csv(content.encode("gb18030") + b"\x81", encoding="gb18030", columns=["项目"])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("数量\n1\n", "column 项目 is missing"),
        ("项目,项目\n1,2\n", "twice"),
        ("", "headings are none"),
        ('项目\n"甲\n', "not CSV"),
    ],
)
def test_a_table_without_its_columns_is_refused_as_a_whole(content: str, why: str) -> None:
    with pytest.raises(TableFault, match=why):
        read_csv(content.encode("gb18030"), encoding="gb18030", columns=["项目"])


def workbook(*rows: tuple[str | float | datetime | None, ...]) -> bytes:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in rows:
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def test_a_workbook_is_read_like_a_csv_file() -> None:
    content = workbook(("项目", "数量", "日期"), ("甲", 12.0, MARCH), (None, None, None), ("乙", "1,200", "2024/3/2"))
    table = read_workbook(content, columns=["项目", "数量", "日期"])
    assert [
        (cells.line, text(cells.values["项目"]), whole(cells.values["数量"]), day(cells.values["日期"]))
        for cells in table
    ] == [
        (2, "甲", 12, date(2024, 3, 1)),
        (4, "乙", 1200, date(2024, 3, 2)),
    ]


def test_a_formula_that_nobody_calculated_is_no_empty_cell() -> None:
    content = workbook(("项目", "日期"), ("甲", "=TODAY()"), ("乙", None))
    first, second = read_workbook(content, columns=["项目"])
    assert (first.read("项目", text), second.read("日期", optional_day)) == ("甲", None)
    with pytest.raises(CellFault, match="a formula without its value"):
        first.read("日期", optional_day)


@pytest.mark.parametrize("spoil", [lambda content: content[: len(content) // 2], lambda _: b"<html>", lambda _: b""])
def test_half_a_workbook_is_not_read(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(TableFault):
        read_workbook(spoil(workbook(("项目",), ("甲",))), columns=["项目"])


def test_one_bad_row_stops_no_other_and_names_line_and_column() -> None:
    table = read_csv("项目,数量\n甲,1\n乙,一\n丙,3\n".encode("gb18030"), encoding="gb18030", columns=["项目", "数量"])

    def read(cells: Cells) -> tuple[str, int]:
        return cells.read("项目", text), cells.read("数量", whole)

    reading = read_rows(table, read)
    assert reading.rows == (("甲", 1), ("丙", 3))
    (fault,) = reading.faults
    assert (fault.line, fault.column) == (3, "数量")
    assert "is no number" in str(fault)
    assert isinstance(fault, RowFault)


@pytest.mark.parametrize("row", ["乙,1,234", "乙"])
def test_a_row_with_more_or_fewer_cells_than_headings_is_not_read(row: str) -> None:
    content = f"项目,数量\n甲,1\n{row}\n丙,3,\n".encode("gb18030")
    reading = read_rows(
        read_csv(content, encoding="gb18030", columns=["项目", "数量"]),
        lambda cells: (cells.read("项目", text), cells.read("数量", optional_text)),
    )
    assert reading.rows == (("甲", "1"), ("丙", "3"))
    assert [(fault.line, fault.column) for fault in reading.faults] == [(3, "row")]
    assert "cells under 2 headings" in reading.faults[0].why


def test_an_empty_day_may_be_allowed() -> None:
    assert optional_day("") is None
    assert optional_day("20240301") == date(2024, 3, 1)
