"""Tables as registries send them: CSV in a stated encoding, Excel workbooks. Every cell is read by rule or refused.

A table that cannot be read as a whole is a ``TableFault``. A row that cannot be read is a ``RowFault``, which names the
column and the remedy; it stops no other row.
"""

import csv
import io
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final, Generic, TypeVar

from soleclaim.core.period import EARLIEST, LATEST

MAX_TABLE_BYTES: Final = 64 * 1024 * 1024
MAX_UNPACKED_BYTES: Final = 512 * 1024 * 1024
"""Of a workbook, which is a packed archive."""
MAX_CELL: Final = 1_000
"""Characters."""

_DAY_FORMS: Final = (
    re.compile(r"(\d{4})-(\d{2})-(\d{2})(?: 00:00:00)?"),
    re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})"),
    re.compile(r"(\d{4})(\d{2})(\d{2})"),
    re.compile(r"(\d{4})年(\d{1,2})月(\d{1,2})日"),
)
_EXCEL_DAYS: Final = range(36_526, 73_051)
"""Serial numbers of the days from 2000 to 2099; no day is written with eight digits as such a number."""
_EXCEL_DAY_ZERO: Final = date(1899, 12, 30)
_NUMBER: Final = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?([eE][+-]?\d{1,2})?")
_EXACT_DIGITS: Final = 15
"""Significant digits that a number of a spreadsheet holds exactly."""
_MAX_WHOLE: Final = 10**15
_YEARS: Final = range(EARLIEST.year, LATEST.year)
_SPREADSHEET_ERROR: Final = re.compile(r"#(N/A|NULL!|DIV/0!|VALUE!|REF!|NAME\?|NUM!|SPILL!|CALC!|#+)")

_Row = TypeVar("_Row")
_Value = TypeVar("_Value")


class TableFault(ValueError):
    """The table as a whole cannot be read; the message says why and what to do."""


class CellFault(ValueError):
    """A cell cannot be read by rule; the message says why. ``column``: its heading, where it is known."""

    def __init__(self, why: str, column: str = "") -> None:
        super().__init__(why)
        self.column = column


@dataclass(frozen=True, slots=True)
class RowFault:
    """A row that was not read. ``line``: as a person counts in the file, headings included."""

    line: int
    column: str
    why: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.why}"


class Uncalculated:
    """Stands for the value of a formula that nobody calculated."""


@dataclass(frozen=True, slots=True)
class Cells:
    """One row by heading. ``misfit``: why none of its cells can be read, where none can."""

    line: int
    values: Mapping[str, object]
    misfit: str = ""

    def read(self, column: str, rule: Callable[[object], _Value]) -> _Value:
        """The cell by a rule of this module; ``CellFault`` names the column."""
        if self.misfit:
            raise CellFault(self.misfit)
        value = self.values[column]
        if isinstance(value, Uncalculated):
            raise CellFault("is a formula without its value; open the file, save it, and send it again", column)
        try:
            return rule(value)
        except CellFault as fault:
            raise CellFault(str(fault), column) from None

    def unread(self, fault: CellFault) -> "RowFault":
        """That this row cannot be read."""
        return RowFault(self.line, fault.column or "row", str(fault))


@dataclass(frozen=True, slots=True)
class Reading(Generic[_Row]):
    """What was read of a table, and what was not."""

    rows: tuple[_Row, ...]
    faults: tuple[RowFault, ...]


def read_rows(table: Sequence[Cells], read: Callable[[Cells], _Row]) -> Reading[_Row]:
    """``read`` for each row; one that raises ``CellFault`` becomes a ``RowFault`` and stops no other."""
    rows: list[_Row] = []
    faults: list[RowFault] = []
    for cells in table:
        try:
            rows.append(read(cells))
        except CellFault as fault:
            faults.append(cells.unread(fault))
    return Reading(tuple(rows), tuple(faults))


# -- Tables ----------------------------------------------------------------------------------------------------------


def read_csv(content: bytes, *, encoding: str, columns: Sequence[str]) -> list[Cells]:
    """Rows of a CSV file with a line of headings; ``TableFault`` unless all ``columns`` are there.

    Other columns are kept too. Empty lines are passed over.
    """
    if len(content) > MAX_TABLE_BYTES:
        raise TableFault(f"the file has {len(content)} bytes, more than {MAX_TABLE_BYTES}; split it")
    reader = csv.reader(io.StringIO(_decoded(content, encoding), newline=""), strict=True)
    try:
        lines = [(reader.line_num, line) for line in reader]
    except csv.Error as error:
        raise TableFault(f"line {reader.line_num} is not CSV: {error}") from None
    return list(_cells(((number, line) for number, line in lines if any(line)), columns, may_be_short=False))


def read_workbook(content: bytes, *, columns: Sequence[str], sheet: str | None = None) -> list[Cells]:
    """Rows of one sheet (the first, when none is named) of an ``.xlsx`` file, its first row being the headings."""
    try:
        return _workbook_rows(content, columns, sheet)
    except TableFault:
        raise
    except Exception as error:  # noqa: BLE001  the library lets through whatever its parsers meet in a broken sheet
        raise TableFault(f"the sheet cannot be read: {type(error).__name__}: {error}; have it sent again") from None


def _workbook_rows(content: bytes, columns: Sequence[str], sheet: str | None) -> list[Cells]:
    # Imported where it is needed: it brings numpy along, which starts threads, and few registries send workbooks.
    import openpyxl  # noqa: PLC0415
    from openpyxl.utils.exceptions import InvalidFileException  # noqa: PLC0415

    if len(content) > MAX_TABLE_BYTES:
        raise TableFault(f"the file has {len(content)} bytes, more than {MAX_TABLE_BYTES}; split it")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(each.file_size for each in archive.infolist()) > MAX_UNPACKED_BYTES:
                raise TableFault(f"unpacked, the workbook has more than {MAX_UNPACKED_BYTES} bytes; split it")
        formulas = openpyxl.load_workbook(io.BytesIO(content), read_only=True)
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, OSError, EOFError) as error:
        if isinstance(error, TableFault):
            raise
        raise TableFault(f"not a whole .xlsx workbook: {error}; have it sent again") from None
    try:
        if sheet is not None and sheet not in book.sheetnames:
            raise TableFault(f"there is no sheet {sheet}; it has {', '.join(book.sheetnames)}")
        values, written = (
            (each[sheet] if sheet else each.worksheets[0]).iter_rows(values_only=True) for each in (book, formulas)
        )
        rows = (
            [Uncalculated() if cell is None and told is not None else cell for cell, told in zip(*row, strict=True)]
            for row in zip(values, written, strict=True)
        )
        numbered = ((number, row) for number, row in enumerate(rows, 1) if any(cell not in (None, "") for cell in row))
        return list(_cells(numbered, columns))
    finally:
        book.close()
        formulas.close()


def _decoded(content: bytes, encoding: str) -> str:
    """Strictly; UTF-8 is told apart, because most of it can be read as GB18030, as other characters."""
    if encoding.lower() not in ("utf-8", "utf-8-sig") and not content.isascii():
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            pass
        else:
            raise TableFault(f"the file is written in UTF-8 where {encoding} is agreed; have it sent in {encoding}")
    try:
        return content.decode("utf-8-sig" if encoding.lower() == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        raise TableFault(
            f"byte {error.start} is not {encoding}; the file is cut or written in another encoding"
        ) from None


def misfit_of(line: Sequence[object], headings: Sequence[str]) -> str:
    """Why a line of CSV cannot be put under its headings; empty where it can."""
    if len(line) == len(headings) or (len(line) > len(headings) and not any(line[len(headings) :])):
        return ""
    return (
        f"has {len(line)} cells under {len(headings)} headings: a comma stands in a cell without quotes,"
        " or the line was cut; put it right, or have the file sent again"
    )


def _cells(
    lines: Iterator[tuple[int, Sequence[object]]], columns: Sequence[str], *, may_be_short: bool = True
) -> Iterator[Cells]:
    _, first = next(lines, (0, ()))
    headings = [str(cell).strip() if cell is not None else "" for cell in first]
    missing = [column for column in columns if column not in headings]
    if missing:
        raise TableFault(f"column {', '.join(missing)} is missing; the headings are {', '.join(headings) or 'none'}")
    double = sorted({heading for heading in headings if heading and headings.count(heading) > 1})
    if double:
        raise TableFault(f"column {', '.join(double)} is there twice")
    for number, line in lines:
        padded = [*line, *[None] * (len(headings) - len(line))]
        values = {heading: cell for heading, cell in zip(headings, padded, strict=False) if heading}
        yield Cells(number, values, "" if may_be_short else misfit_of(line, headings))


# -- Rules for one cell ----------------------------------------------------------------------------------------------


def text(value: object) -> str:
    """A text of 1 to 1,000 characters without control characters; white space at its ends falls away."""
    found = optional_text(value)
    if found is None:
        raise CellFault("is empty")
    return found


def optional_text(value: object) -> str | None:
    """Like ``text``; an empty cell is ``None``."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, str):
        raise CellFault(f"{value!r:.40} is a {type(value).__name__}, not a text; format the column as text")
    found = value.strip()
    if len(found) > MAX_CELL:
        raise CellFault(f"has {len(found)} characters, more than {MAX_CELL}")
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co") for character in found):
        raise CellFault(f"{found!r:.40} holds control characters")
    if _SPREADSHEET_ERROR.fullmatch(found):
        raise CellFault(f"{found:.40} is what a spreadsheet shows in place of a value; mend it and send it again")
    return found


def day(value: object) -> date:
    """A day of 1990 to 2199: ``2024-03-01``, ``2024/3/1``, ``20240301``, ``2024年3月1日``, a date cell or an Excel day
    number.
    """
    found = _day(value)
    if found.year not in _YEARS:
        raise CellFault(f"{found} lies outside of the years {_YEARS.start} to {_YEARS.stop - 1}")
    return found


def _day(value: object) -> date:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, datetime):
        if value.time() != time():
            raise CellFault(f"{value} has a time of day where a day is due")
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value in _EXCEL_DAYS:
        return _EXCEL_DAY_ZERO + timedelta(days=value)
    written = _plain(value)
    for form in _DAY_FORMS:
        match = form.fullmatch(written)
        if match:
            try:
                return date(*map(int, match.groups()))
            except ValueError as error:
                raise CellFault(f"{written!r:.40} is no day: {error}") from None
    raise CellFault(f"{written!r:.40} is no day; write it as 2024-03-01")


def optional_day(value: object) -> date | None:
    """Like ``day``; an empty cell is ``None``."""
    return None if value is None or value == "" else day(value)


def exact(value: object) -> Decimal:
    """A number, exactly as written: ``1234.5``, ``1,234.5``, ``1.2345E+3``, a number cell of at most 15 digits."""
    if isinstance(value, float):
        number = Decimal(repr(value))
        if len(number.normalize().as_tuple().digits) > _EXACT_DIGITS:
            raise CellFault(f"{value!r} has more digits than a spreadsheet holds exactly; send it as text")
        return number
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    written = _plain(value)
    if not _NUMBER.fullmatch(written):
        raise CellFault(f"{written!r:.40} is no number; write digits, thousands in threes or not at all, and a point")
    try:
        return Decimal(written.replace(",", ""))
    except InvalidOperation:
        raise CellFault(f"{written!r:.40} is no number") from None


def whole(value: object) -> int:
    """A whole number of 0 to 10^15; ``12.0`` and ``1.2E+3`` are whole, ``12.5`` is not."""
    number = exact(value)
    if not 0 <= number <= _MAX_WHOLE or number != number.to_integral_value():
        raise CellFault(f"{number} is no whole number from 0 to {_MAX_WHOLE}")
    return int(number)


def identifier(pattern: str, *, width: int = 0) -> Callable[[object], str]:
    """A rule for identifiers of the form ``pattern`` (a regular expression for the whole).

    ``width``: they are that many digits, always. Then a shorter row of digits has lost zeros at its front, which
    spreadsheets drop, and gets them back; with no width stated nothing is added.
    """
    form = re.compile(pattern)

    def rule(value: object) -> str:
        if isinstance(value, float):
            if not value.is_integer() or abs(value) >= 10**_EXACT_DIGITS:
                raise CellFault(f"{value!r} became a number and lost digits; format the column as text")
            value = int(value)
        written = _plain(value)
        if width and written.isdigit() and written.isascii():
            written = written.zfill(width)
        if not form.fullmatch(written):
            raise CellFault(
                f"{written!r:.40} is not of the form {pattern}; format the column as text and send it again"
            )
        return written

    return rule


def _plain(value: object) -> str:
    """What is written in a cell, full-width signs as plain ones."""
    if value is None or value == "":
        raise CellFault("is empty")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise CellFault(f"{value!r:.40} is a {type(value).__name__}")
    return unicodedata.normalize("NFKC", str(value)).strip()[:MAX_CELL]
