"""Readers of published files: every row is read, skipped with a reason, or told with line, column and remedy."""

import shutil
import zipfile
from collections import Counter
from datetime import UTC, date, datetime
from importlib import resources
from pathlib import Path

import openpyxl
import pytest

from soleclaim.cmd.history import FORMATS as OFFERED
from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.history import arb, archive, plants, rego, table
from soleclaim.history.rows import Issued, Line, Read, Skipped
from soleclaim.history.run import FORMATS
from soleclaim.natives.cells import RowFault, TableFault

DATA = Path(__file__).parent / "data"
PANDA = Path(str(resources.files("soleclaim"))) / "sandbox/archive/panda"


def lines(read: list[Read]) -> list[Line]:
    return [each for each in read if isinstance(each, Line)]


def skipped(read: list[Read]) -> Counter[str]:
    return Counter(each.reason for each in read if isinstance(each, Skipped))


def faults(read: list[Read]) -> list[str]:
    return [str(each) for each in read if isinstance(each, RowFault)]


def changed(tmp_path: Path, name: str, old: str, new: str) -> Path:
    """A copy of a data file with its first ``old`` replaced."""
    path = tmp_path / name
    text = (DATA / name).read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    return path


def test_the_command_offers_every_reader() -> None:
    assert tuple(FORMATS) == OFFERED


def test_california_rows_are_issuances_or_skipped_with_a_reason() -> None:
    read = list(arb.read(DATA / "arb.csv", "arb"))
    assert faults(read) == []
    assert set(skipped(read)) == {"reversal", "reporting period without credits"}
    first = next(each for each in lines(read) if each.project.native_project_id == "CAOD1007")
    assert first.project.identifiers == (("arb_project", "CAOD1007"), ("acr", "1007"))
    assert first.issued is not None
    assert (first.issued.instrument, first.issued.units, first.issued.issue_day) == ("ARBOC", 79_565, date(2024, 6, 11))
    # The last day counts, and both midnights are California's: in summer time, then in winter time.
    assert first.issued.period == Period(datetime(2023, 9, 26, 7, tzinfo=UTC), datetime(2024, 1, 27, 8, tzinfo=UTC))


def test_a_project_registry_sees_its_own_rows_of_the_same_table() -> None:
    read = list(arb.read(DATA / "arb.csv", "acr"))
    assert all(each.project.native_project_id.startswith("ACR") for each in lines(read))
    assert {each.issued.instrument for each in lines(read) if each.issued} == {"ERT"}
    assert skipped(read)["listed by another registry than acr"] > 0


def test_the_agencys_workbook_reads_as_its_extract(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = arb.SHEET
    sheet.append(list(arb._WORKBOOK.values()))
    days = (datetime(2023, 9, 26), datetime(2024, 1, 26))  # noqa: DTZ001  as a workbook has days
    issued = datetime(2024, 6, 11)  # noqa: DTZ001  as above
    sheet.append(["CAOD1007-A", "ACR1007", *days, 79_565, issued])
    sheet.append(["CALS5014-(zero)", "CAR1", *days, "(zero)", issued])
    sheet.append(["CAMM0115-A", 559, *days, 25_740, issued])
    path = tmp_path / "book.xlsx"
    book.save(path)
    one, zero, early = arb.read(path, "arb")
    [extract] = [each for each in lines(list(arb.read(DATA / "arb.csv", "arb"))) if each.project == one.project]  # type: ignore[union-attr]  # a line
    assert isinstance(one, Line)
    assert one.issued == extract.issued
    assert isinstance(zero, Skipped)
    assert isinstance(early, Line)
    assert early.project.identifiers == (("arb_project", "CAMM0115"),)


@pytest.mark.parametrize(
    ("old", "new", "column"),
    [
        ("79565.0", "79565.5", "credits"),
        ("2023-09-26", "26.9.2023", "period_start"),
        ("2024-01-26", "2023-01-26", "period_end"),
        ("CAOD1007-A", "???", "carb_issuance_id"),
    ],
)
def test_a_bad_row_is_told_with_its_line_and_column_and_stops_no_other(
    tmp_path: Path, old: str, new: str, column: str
) -> None:
    whole = list(arb.read(DATA / "arb.csv", "arb"))
    read = list(arb.read(changed(tmp_path, "arb.csv", old, new), "arb"))
    [told] = faults(read)
    assert told.startswith(f"line 2, column {column}: ")
    assert len(lines(read)) == len(lines(whole)) - 1


def test_rego_ranges_begin_at_zero_and_count_both_ends() -> None:
    read = list(rego.read(DATA / "rego.csv", "rego"))
    assert faults(read) == []
    assert skipped(read) == {"a filler row that repeats another": 4}
    first = lines(read)[0]
    assert first.issued is not None
    assert first.issued.blocks[0].count == first.issued.units
    assert any(each.issued is not None and each.issued.blocks[0].start == 0 for each in lines(read))
    # March 2023 in British time ends in summer time.
    assert first.issued.period.end in (datetime(2023, 3, 31, 23, tzinfo=UTC), first.issued.period.end)


def test_rego_in_its_xml_form_has_no_names_of_columns() -> None:
    read = list(rego.read(DATA / "rego.xml", "rego"))
    assert skipped(read) == {"scheme RO, not REGO": 1}
    assert [each.issued.blocks for each in lines(read) if each.issued] == [
        (UnitBlock("G00852MWEN-010113310113GEN", 0, 24_617),),
        (UnitBlock("G00091NWNI-010113310113GEN", 0, 5_310),),
    ]


@pytest.mark.parametrize("written", ["Apr-2022", "01/04/2022 - 30/04/2022", "2022 - 2023", "2021 - 2023"])
def test_the_output_period_has_three_forms_and_agrees_with_the_certificate_number(tmp_path: Path, written: str) -> None:
    path = tmp_path / "one.csv"
    path.write_text(
        f"G01821BWEN,Drax,4065000.0,REGO,England,Biomass,,{written},10,G01821BWEN0000000000010422300422GEN,"
        "G01821BWEN0000000009010422300422GEN,1.0,15/05/2022,Issued,,,\n"
    )
    [read] = rego.read(path, "rego")
    assert isinstance(read, Line)
    assert read.issued is not None
    # British summer time: the month begins at eleven at night.
    assert read.issued.period.start == datetime(2022, 3, 31, 23, tzinfo=UTC)
    path.write_text(path.read_text().replace(written, "May-2022"))
    assert "does not agree with the certificate number" in faults(list(rego.read(path, "rego")))[0]


def test_cdm_projects_are_registrations_with_their_number() -> None:
    read = list(plants.read_cdm(DATA / "cdm.csv", "cdm"))
    assert faults(read) == []
    assert all(each.issued is None and each.project.described for each in lines(read))
    assert all(each.project.identifiers == (("cdm", each.project.native_project_id),) for each in lines(read))


def test_a_table_in_our_own_columns(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(
        "native_project_id,country,activity_type,display_name,time_zone,identifiers,instrument,period_start,period_end,"
        "units,native_issuance_id,blocks\n"
        "p-1,CN,wind,A,Asia/Shanghai,cdm:7014;vcs:12,CCER,2020-01-01,2021-01-01T00:00:00+08:00,30,i-1,S:1-10;S:21-40\n"
        "p-2,CN,wind,B,Asia/Shanghai,,,,,,,\n"
        "p-3,CN,wind,C,Asia/Shanghai,nothing:1,,,,,,\n"
        "p-4,CN,wind,D,Asia/Shanghai,,CCER,2020-01-01,2019-01-01,1,i-2,\n"
        "p-5,CN,wind,E,Asia/Shanghai,,CCER,2020-01-01,2021-01-01,10,i-3,S:1_0-19\n",
        "utf-8",
    )
    one, two, three, four, five = table.read(path, "ccer")
    assert isinstance(one, Line)
    assert isinstance(two, Line)
    assert one.issued is not None
    assert one.issued.period == Period(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 12, 31, 16, tzinfo=UTC))
    assert one.issued.blocks == (UnitBlock("S", 1, 10), UnitBlock("S", 21, 40))
    assert two.issued is None
    assert [str(each).partition(": ")[0] for each in (three, four, five)] == [
        "line 4, column identifiers", "line 5, column period_end", "line 6, column blocks",
    ]  # fmt: skip


OWN = "native_project_id,country,activity_type,display_name,time_zone,instrument,period_start,period_end"


@pytest.mark.parametrize(
    ("changed", "column"),
    [
        ("2020-01-01,2021-01-01,i-2,1,234", "row"),  # thousands without quotes
        ("2020-01-01,2021-01-01,i-2", "row"),  # the line was cut
        ("2020-01-01,9999-12-31T23:59:59-08:00,i-2,1", "period_end"),
        ("2020-01-01,2021-01-01,#REF!,1", "native_issuance_id"),
        ("2020-01-01,2021-01-01,i-2,9300000000000000000", "units"),
    ],
)
def test_a_row_that_cannot_be_read_stops_no_other_and_nothing_of_it_is_guessed(
    tmp_path: Path, changed: str, column: str
) -> None:
    path = tmp_path / "own.csv"
    place = "CN,wind,A,Asia/Shanghai,CCER"
    one, other = (f"p-{number},{place},2020-01-01,2021-01-01,i-{number},1" for number in (1, 3))
    path.write_text("\n".join((f"{OWN},native_issuance_id,units", one, f"p-2,{place},{changed}", other)), "utf-8")
    read = list(table.read(path, "ccer"))
    assert [each.issued.native_issuance_id for each in lines(read) if each.issued] == ["i-1", "i-3"]
    assert faults(read)[0].startswith(f"line 3, column {column}: ")


def test_a_column_that_is_there_twice_is_not_chosen_from(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(f"{OWN},units,units,native_issuance_id\n", "utf-8")
    with pytest.raises(TableFault, match="units is there twice"):
        list(table.read(path, "ccer"))


def test_a_file_of_another_kind_is_told_at_once() -> None:
    with pytest.raises(TableFault, match="no column carb_issuance_id"):
        list(arb.read(DATA / "cdm.csv", "arb"))
    with pytest.raises(TableFault, match="is it a file of this format"):
        list(arb.read(DATA / "cdm.csv", "arb"))
    with pytest.raises(TableFault, match="not of gec"):
        list(arb.read(DATA / "arb.csv", "gec"))


def test_tables_of_an_archive_are_read_from_their_folder() -> None:
    read = list(archive.read(PANDA, "panda"))
    assert faults(read) == []
    first = lines(read)[0]
    assert (first.number, first.project.native_project_id, first.project.described) == (1, "PS-0001", True)
    assert first.issued == Issued(
        instrument="PANDA",
        period=Period(datetime(2009, 12, 31, 16, tzinfo=UTC), datetime(2010, 12, 31, 16, tzinfo=UTC)),
        units=16_800,
        native_issuance_id="20110001",
        blocks=(UnitBlock("PANDA-2011-CN-PS0001", 1, 16_800),),
        # China's day, which begins on the day before in UTC.
        issue_day=date(2011, 3, 9),
    )


def test_bad_row_of_an_archive_is_told_with_its_file_and_stops_no_other(tmp_path: Path) -> None:
    shutil.copytree(PANDA, tmp_path, dirs_exist_ok=True)
    headings = (PANDA / "issuances-2011.csv").read_text("gb18030").partition("\n")[0]
    (tmp_path / "issuances-2013.csv").write_text(f"{headings}\n20130001,PS-0001,2012-01-01,,1,,,\n", "gb18030")
    read = list(archive.read(tmp_path, "panda"))
    assert len(lines(read)) == len(read) - 1
    assert "issuances-2013.csv, line 2: column 监测期结束" in faults(read)[0]


@pytest.mark.parametrize("column", ["native_issuance_ID", "block", "identifier"])
def test_a_heading_that_nobody_reads_is_no_missing_column(tmp_path: Path, column: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(f"{OWN},units,{column}\np-1,CN,wind,A,Asia/Shanghai,CCER,2020-01-01,2021-01-01,1,i-1\n", "utf-8")
    with pytest.raises(TableFault, match=f"column {column} is none of"):
        list(table.read(path, "ccer"))


@pytest.mark.parametrize("number", ["", "1.23457E+18", "1E+18"])
def test_an_issuance_whose_number_is_lost_is_no_project_alone_and_no_other_issuance(
    tmp_path: Path, number: str
) -> None:
    path = tmp_path / "own.csv"
    line = f"p-1,CN,wind,A,Asia/Shanghai,CCER,2020-01-01,2021-01-01,{number},1"
    path.write_text(f"{OWN},native_issuance_id,units\n{line}\n", "utf-8")
    assert faults(list(table.read(path, "ccer")))[0].startswith("line 2, column native_issuance_id: ")


def test_a_quote_that_swallows_rows_makes_none_of_them(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    rest = "Asia/Shanghai,CCER,2020-01-01,2021-01-01"
    rows = (f'p-1,CN,wind,"A,{rest},i-1,1', f"p-2,CN,wind,B,{rest},i-2,1", f'p-3,CN,wind,C",{rest},i-3,1')
    path.write_text("\n".join((f"{OWN},native_issuance_id,units", *rows)), "utf-8")
    [fault] = table.read(path, "ccer")
    assert "a quote was opened in one row" in str(fault)
    path.write_text(f'{OWN},capacity_mw\np-1,CN,wind,"A\nB, C",{",".join(rest.split(",")[:1])},,,,1\n', "utf-8")
    [read] = table.read(path, "ccer")
    assert isinstance(read, Line), "a name may have a line break"


def test_a_number_beyond_all_bounds_is_a_fault_of_its_row(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(f"{OWN},capacity_mw\np-1,CN,wind,A,Asia/Shanghai,,,,{'9' * 400}\n", "utf-8")
    assert faults(list(table.read(path, "ccer")))[0].startswith("line 2, column capacity_mw: ")


def test_a_table_of_an_archive_that_cannot_be_read_or_that_nobody_reads_is_told(tmp_path: Path) -> None:
    shutil.copytree(PANDA, tmp_path, dirs_exist_ok=True)
    (tmp_path / "issuances-2011.csv").rename(tmp_path / "issuances-2011.CSV")
    book = tmp_path / "issuances-2012.xlsx"
    with zipfile.ZipFile(book) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    with zipfile.ZipFile(book, "w") as packed:
        for name, content in parts.items():
            packed.writestr(name, content[: len(content) // 2] if "worksheets/" in name else content)
    told = faults(list(archive.read(tmp_path, "panda")))
    assert len(told) == 2
    assert "issuances-2011.CSV: is named like none of projects*.csv" in told[0]
    assert "issuances-2012.xlsx: the sheet cannot be read" in told[1]
