"""Registries that exchange files: orders are laid into one folder, deliveries are taken from another.

``to-registry``: one order per file, named by its reference, so that the very same order again is the very same file.
``from-registry``: acknowledgements of order files, and numbered deliveries, each a full snapshot of the registry's
tables with a manifest. A delivery counts only when its manifest and all its files agree and every table can be read.

Nothing is concluded from what is missing: what is not found while a newer delivery is not whole, while an order of ours
is unanswered, or in a table with rows that cannot be read, is ``Unclear``.
"""

import asyncio
import csv
import hashlib
import io
import logging
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from prometheus_client import Gauge

from soleclaim.core.period import Period
from soleclaim.core.serials import UnitBlock
from soleclaim.natives.answers import Unclear, check_serials, not_civil, placed, told
from soleclaim.natives.cells import (
    MAX_TABLE_BYTES,
    CellFault,
    Cells,
    Reading,
    RowFault,
    TableFault,
    day,
    identifier,
    optional_text,
    read_csv,
    read_rows,
    read_workbook,
    text,
    whole,
)
from soleclaim.natives.civil import CHINA, days_of_period, period_of_days
from soleclaim.natives.guarded import LASTING
from soleclaim.natives.paging import reconciled_by
from soleclaim.natives.settings import NativeSettings
from soleclaim.registry.native import (
    AbsenceProof,
    MeasuredOutcome,
    NativeCapabilities,
    NativeCoverage,
    NativeIssuance,
    NativeOrder,
    NativeProject,
    NativeRefusal,
    NativeResult,
    NativeUnavailable,
)

_LOG = logging.getLogger(__name__)

UNREAD_ROWS: Final = Gauge(
    "soleclaim_native_unread_rows",
    "Rows of the newest whole delivery that could not be read; the log names file, row, column and remedy",
    ["registry", "table"],
)

ENCODING: Final = "gb18030"
"""Of manifests and acknowledgements, whatever form the tables have."""
MANIFEST: Final = ("批次号", "修订号", "表", "文件名", "SHA-256", "行数")
ACKNOWLEDGEMENT: Final = ("文件名", "SHA-256", "状态", "原因")
RECEIVED: Final = "已接收"
REJECTED: Final = "已拒收"
_DELIVERED: Final = re.compile(r"(?P<number>\d{6})-(?P<part>[a-z]+)(?P<copy> \(\d+\))?\.(?P<suffix>csv|xlsx)", re.ASCII)
_SHA256: Final = identifier("[0-9a-f]{64}")
_REFERENCE: Final = identifier("[A-Za-z0-9._:-]{1,64}")
MAX_LOGGED: Final = 100
"""Unreadable rows of a table that are logged one by one."""
MAX_BASE_UNITS: Final = 10**15
_PROJECT_CODE: Final = identifier("[0-9]{4}-[0-9]{6}-[0-9]{2}-[0-9]{2}-[0-9]{6}")
_SERIAL: Final = identifier("[0-9]{10}", width=10)

_Row = TypeVar("_Row")
_Found = TypeVar("_Found")


# -- How a family writes its tables ------------------------------------------------------------------------------------


class Codec(Protocol):
    """The form of a table in a file."""

    @property
    def suffix(self) -> str:
        """Of file names, without the dot."""

    def read(self, content: bytes, table: str, columns: Sequence[str]) -> list[Cells]:
        """Rows of ``table``; ``TableFault``."""

    def write(self, table: str, row: Mapping[str, str]) -> bytes:
        """A file with ``table`` of one row."""


@dataclass(frozen=True, slots=True)
class CsvCodec:
    """One table a file, with a line of headings."""

    encoding: str
    suffix: str = "csv"

    def read(self, content: bytes, table: str, columns: Sequence[str]) -> list[Cells]:  # noqa: ARG002  see Codec
        """See ``Codec``."""
        return read_csv(content, encoding=self.encoding, columns=columns)

    def write(self, table: str, row: Mapping[str, str]) -> bytes:  # noqa: ARG002  see Codec
        """See ``Codec``."""
        written = io.StringIO(newline="")
        csv.writer(written).writerows([row.keys(), row.values()])
        return written.getvalue().encode(self.encoding)


@dataclass(frozen=True, slots=True)
class WorkbookCodec:
    """All tables in one workbook, a sheet for each."""

    suffix: str = "xlsx"

    def read(self, content: bytes, table: str, columns: Sequence[str]) -> list[Cells]:
        """See ``Codec``."""
        return read_workbook(content, columns=columns, sheet=table)

    def write(self, table: str, row: Mapping[str, str]) -> bytes:
        """See ``Codec``; every cell is a text."""
        import openpyxl  # noqa: PLC0415  see ``read_workbook``

        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet(table)
        for line in (row.keys(), row.values()):
            sheet.append(list(line))
        written = io.BytesIO()
        book.save(written)
        return written.getvalue()


@dataclass(frozen=True, slots=True)
class Table(Generic[_Row]):
    """``name``: by which the manifest knows it. ``read`` raises ``CellFault`` for a row that cannot be read."""

    name: str
    columns: tuple[str, ...]
    read: Callable[[Cells], _Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Names of tables, and headings, that orders and their answers have in a family."""

    orders: str
    issuances: str
    refusals: str
    reference: str
    token: str
    project: str
    first_day: str
    last_day: str
    units: str
    issuance: str
    series: str
    first_serial: str
    last_serial: str
    code: str
    reason: str

    @property
    def order(self) -> tuple[str, ...]:
        """Headings of an order."""
        return self.reference, self.token, self.project, self.first_day, self.last_day, self.units


@dataclass(frozen=True, slots=True)
class RefusedOrder:
    """A row of the refusals: the order as the registry read it, and why it was refused."""

    order: NativeOrder
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """All that is particular to a family. ``project_id``: the rule for a project's number."""

    codec: Codec
    words: Words
    project_id: Callable[[object], str]
    projects: Table[NativeProject]
    outcomes: Table[MeasuredOutcome]
    coverage: Table[NativeCoverage] | None = None

    def issuances(self) -> Table[NativeIssuance]:
        """What was issued."""
        words = self.words
        columns = (*words.order, words.issuance, words.series, words.first_serial, words.last_serial)
        return Table(words.issuances, columns, self._issuance)

    def refusals(self) -> Table[RefusedOrder]:
        """What was refused, for ever."""
        words = self.words
        return Table(words.refusals, (*words.order, words.code, words.reason), self._refused)

    def _order(self, cells: Cells) -> NativeOrder:
        words = self.words
        return NativeOrder(
            external_reference=cells.read(words.reference, _REFERENCE),
            fencing_token=cells.read(words.token, whole),
            native_project_id=cells.read(words.project, self.project_id),
            period=period_of(cells, words.first_day, words.last_day),
            units=cells.read(words.units, whole),
        )

    def _issuance(self, cells: Cells) -> NativeIssuance:
        words, order = self.words, self._order(cells)
        first, last = (int(cells.read(column, _SERIAL)) for column in (words.first_serial, words.last_serial))
        series = cells.read(words.series, text)
        issuance = NativeIssuance(
            native_issuance_id=cells.read(words.issuance, text),
            external_reference=order.external_reference,
            fencing_token=order.fencing_token,
            native_project_id=order.native_project_id,
            period=order.period,
            units=order.units,
            blocks=(by_rule(words.first_serial, lambda: UnitBlock(series, first, last)),),
        )
        by_rule(words.units, lambda: check_serials(issuance))
        return issuance

    def _refused(self, cells: Cells) -> RefusedOrder:
        words = self.words
        return RefusedOrder(self._order(cells), cells.read(words.code, text), cells.read(words.reason, text))


def period_of(cells: Cells, first_day: str, last_day: str) -> Period:
    """The period of two columns of days, both inclusive, in UTC+8."""
    first, last = cells.read(first_day, day), cells.read(last_day, day)
    return by_rule(last_day, lambda: period_of_days(first, last, CHINA))


def project_codes(cells: Cells, column: str) -> tuple[tuple[str, str], ...]:
    """The national project code of a row that has one, as the identifiers of its project."""
    if cells.read(column, optional_text) is None:
        return ()
    return (("cn_project_code", cells.read(column, _PROJECT_CODE)),)


def by_rule(column: str, make: Callable[[], _Found]) -> _Found:
    """What ``make`` gives; values that make nothing sound are a fault of ``column``."""
    try:
        return make()
    except (ValueError, OverflowError, Unclear) as error:
        raise CellFault(str(error), column) from error


def whole_base_units(amount: Decimal, each: Decimal | int, base_unit: str) -> int:
    """``amount`` of a unit that is ``each`` base units, exactly; ``ValueError``: nothing is rounded."""
    found = Fraction(amount) * Fraction(each)
    if found.denominator != 1 or not 0 <= found <= MAX_BASE_UNITS:
        raise ValueError(
            f"{amount} at {each} {base_unit} each make no whole number of {base_unit} from 0 to {MAX_BASE_UNITS};"
            f" have it stated so that it makes whole {base_unit}"
        )
    return int(found)


# -- Deliveries --------------------------------------------------------------------------------------------------------


class _NotWhole(Exception):
    """A delivery does not count, or not yet; the message says why."""


@dataclass(frozen=True, slots=True)
class Sheet(Generic[_Row]):
    """One table of a delivery: its rows by key, in the order of the file, and those that could not be read."""

    name: str
    by_key: Mapping[object, Sequence[_Row]]
    unread: Sequence[RowFault]

    def one(self, key: object) -> _Row | None:
        """The row of ``key``, or ``None``; ``Unclear`` when there are several."""
        rows = self.by_key.get(key, ())
        if len(rows) > 1:
            raise Unclear(f"{self.name} has {len(rows)} rows for it")
        return rows[0] if rows else None

    def must_be_read(self) -> None:
        """``Unclear`` when a row could not be read: it may be the one that was looked for."""
        if self.unread:
            raise Unclear(f"{len(self.unread)} row(s) of {self.name} cannot be read, first: {self.unread[0]}")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery that counts."""

    number: int
    projects: Sheet[NativeProject]
    outcomes: Sheet[MeasuredOutcome]
    issuances: Sheet[NativeIssuance]
    refusals: Sheet[RefusedOrder]
    coverage: Sheet[NativeCoverage] | None


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest delivery that counts. ``newer``: what came after it and does not; empty when nothing did."""

    delivery: Delivery
    newer: str

    def must_be_newest(self) -> None:
        """``Unclear`` when something newer came that may say more."""
        if self.newer:
            raise Unclear(f"not in delivery {self.delivery.number:06d}, and a newer one is not whole: {self.newer}")

    def one(self, sheet: Sheet[_Row], key: object) -> _Row | None:
        """The row of ``key``; ``None`` only when it is certain that there is none."""
        found = sheet.one(key)
        if found is None:
            self.must_be_newest()
            sheet.must_be_read()
        return found

    def answered(self, reference: str) -> NativeIssuance | RefusedOrder | None:
        """How the order of ``reference`` ended; ``None``: it is in neither table. A refusal is believed only of the
        newest delivery, and when every issuance can be read.
        """
        issued, refused = self.delivery.issuances.one(reference), self.delivery.refusals.one(reference)
        if issued is not None and refused is not None:
            raise Unclear("it is listed as issued and as refused")
        if refused is not None:
            self.must_be_newest()
            self.delivery.issuances.must_be_read()
        return issued or refused


class Inbox:
    """``from-registry``. Used by one thread at a time."""

    def __init__(self, folder: Path, form: Form, registry: str) -> None:
        self._folder = folder
        self._form = form
        self._registry = registry
        self._known: dict[int, tuple[object, Delivery | _NotWhole]] = {}

    def look(self) -> Seen:
        """The newest delivery that counts; ``Unclear`` when there is none; ``OSError``."""
        numbers: dict[int, list[Path]] = {}
        for path in self._folder.iterdir():
            if (named := _DELIVERED.fullmatch(path.name)) is not None:
                numbers.setdefault(int(named["number"]), []).append(path)
        newer: list[str] = []
        considered = {}
        for number in sorted(numbers, reverse=True):
            considered[number] = self._delivery(number, sorted(numbers[number]))
            found = considered[number][1]
            if isinstance(found, Delivery):
                self._known = considered
                return Seen(found, newer[0] if newer else "")
            newer.append(f"{number:06d}: {found}")
        self._known = considered
        raise Unclear(f"no whole delivery has come{f', newest {newer[0]}' if newer else ''}")

    def _delivery(self, number: int, paths: Sequence[Path]) -> tuple[object, Delivery | _NotWhole]:
        """Read again only when a file has changed: by the manifests' own text, and sizes and times of all files."""
        manifests = {path: _content(path) for path in paths if _part(path) == "manifest"}
        stats = [(path.name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for path, stat in _stats(paths)]
        seen = (tuple(manifests.values()), tuple(stats))
        known = self._known.get(number)
        if known is not None and known[0] == seen:
            return known
        try:
            delivery = self._read(number, manifests, paths)
        except (_NotWhole, TableFault) as why:
            _LOG.warning("registry %s: delivery %06d does not count: %s", self._registry, number, why)
            return seen, _NotWhole(str(why))
        _LOG.info("registry %s: delivery %06d read", self._registry, number)
        return seen, delivery

    def _read(self, number: int, manifests: Mapping[Path, bytes], paths: Sequence[Path]) -> Delivery:
        manifest = _newest_manifest(number, manifests)
        contents: dict[str, bytes] = {}
        for line in manifest:
            if line.file not in contents:
                contents[line.file] = _matching(line, paths)
        lines = {line.table: line for line in manifest}
        form = self._form

        def sheet(table: Table[_Row], key: Callable[[_Row], object]) -> Sheet[_Row]:
            if table.name not in lines:
                raise _NotWhole(f"its manifest does not list {table.name}")
            return self._sheet(table, key, lines[table.name], contents[lines[table.name].file])

        return Delivery(
            number,
            projects=sheet(form.projects, lambda project: project.native_project_id),
            outcomes=sheet(form.outcomes, lambda outcome: (outcome.native_project_id, outcome.period)),
            issuances=sheet(form.issuances(), lambda issuance: issuance.external_reference),
            refusals=sheet(form.refusals(), lambda refused: refused.order.external_reference),
            coverage=sheet(form.coverage, lambda each: each.statement_id) if form.coverage else None,
        )

    def _sheet(
        self, table: Table[_Row], key: Callable[[_Row], object], line: "_ManifestLine", content: bytes
    ) -> Sheet[_Row]:
        try:
            cells = self._form.codec.read(content, table.name, table.columns)
        except TableFault as fault:
            raise _NotWhole(f"{line.file}, {table.name}: {fault}") from None
        if len(cells) != line.rows:
            raise _NotWhole(f"{line.file}, {table.name}: {line.rows} rows announced, {len(cells)} there")
        reading: Reading[_Row] = read_rows(cells, table.read)
        UNREAD_ROWS.labels(self._registry, table.name).set(len(reading.faults))
        for unread in reading.faults[:MAX_LOGGED]:
            _LOG.error("registry %s: %s, %s: %s", self._registry, line.file, table.name, unread)
        if len(reading.faults) > MAX_LOGGED:
            more = len(reading.faults) - MAX_LOGGED
            _LOG.error("registry %s: %s, %s: and %d rows more", self._registry, line.file, table.name, more)
        by_key: dict[object, list[_Row]] = {}
        for row in reading.rows:
            by_key.setdefault(key(row), []).append(row)
        return Sheet(table.name, by_key, reading.faults)

    def acknowledgement(self, order_file: str) -> Cells | None:
        """What the registry last said of an order file; ``None`` when nothing that can be read."""
        try:
            content = _content(self._folder / f"ack-{Path(order_file).stem}.csv")
            rows = read_csv(content, encoding=ENCODING, columns=ACKNOWLEDGEMENT)
        except (FileNotFoundError, TableFault, _NotWhole):
            return None
        found = [row for row in rows if row.values["文件名"] == order_file]
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class _ManifestLine:
    """``rows`` of ``table`` stand in ``file``, whose content has this hash."""

    delivery: int
    revision: int
    table: str
    file: str
    sha256: str
    rows: int


def _manifest_line(cells: Cells) -> _ManifestLine:
    delivery, revision, table, file, sha256, rows = MANIFEST
    return _ManifestLine(
        cells.read(delivery, whole),
        cells.read(revision, whole),
        cells.read(table, text),
        cells.read(file, text),
        cells.read(sha256, _SHA256),
        cells.read(rows, whole),
    )


def _newest_manifest(number: int, manifests: Mapping[Path, bytes]) -> Sequence[_ManifestLine]:
    """The highest revision; a file that came twice with the same content is one."""
    revisions: dict[int, set[tuple[_ManifestLine, ...]]] = {}
    for path, content in manifests.items():
        reading = read_rows(read_csv(content, encoding=ENCODING, columns=MANIFEST), _manifest_line)
        if reading.faults:
            raise _NotWhole(f"{path.name}: {reading.faults[0]}")
        if {line.delivery for line in reading.rows} != {number} or len({line.revision for line in reading.rows}) != 1:
            raise _NotWhole(f"{path.name} is not the manifest of one revision of delivery {number:06d}")
        if len({line.table for line in reading.rows}) != len(reading.rows):
            raise _NotWhole(f"{path.name} lists a table twice")
        revisions.setdefault(reading.rows[0].revision, set()).add(reading.rows)
    if not revisions:
        raise _NotWhole("its manifest has not come")
    newest = revisions[max(revisions)]
    if len(newest) > 1:
        raise _NotWhole(f"there are {len(newest)} manifests of revision {max(revisions)}; have it sent again")
    return newest.pop()


def _matching(line: _ManifestLine, paths: Sequence[Path]) -> bytes:
    """The content that the manifest means, in the file of that name or in a numbered copy of it."""
    copies = [path for path in paths if _original_name(path) == line.file]
    for path in copies:
        content = _content(path)
        if hashlib.sha256(content).hexdigest() == line.sha256:
            return content
    raise _NotWhole(f"{line.file} {'is not what the manifest says' if copies else 'has not come'}")


def _part(path: Path) -> str | None:
    named = _DELIVERED.fullmatch(path.name)
    return named["part"] if named else None


def _original_name(path: Path) -> str | None:
    named = _DELIVERED.fullmatch(path.name)
    return f"{named['number']}-{named['part']}.{named['suffix']}" if named else None


def _stats(paths: Iterable[Path]) -> list[tuple[Path, os.stat_result]]:
    return [(path, path.stat()) for path in paths]


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_TABLE_BYTES + 1)
    if len(content) > MAX_TABLE_BYTES:
        raise _NotWhole(f"{path.name} has more than {MAX_TABLE_BYTES} bytes; have it split")
    return content


# -- Orders ------------------------------------------------------------------------------------------------------------


class Outbox:
    """``to-registry``. Nothing in it is ever deleted by us; used by one thread at a time."""

    def __init__(self, folder: Path, form: Form, registry: str) -> None:
        self._folder = folder
        self._form = form
        self._registry = registry
        self._answered: set[tuple[str, object]] = set()
        """Rejections after which the file was written again."""

    def name_of(self, reference: str) -> str:
        """Of the order's file."""
        return f"order-{hashlib.sha256(reference.encode()).hexdigest()[:16]}.{self._form.codec.suffix}"

    def holds(self, reference: str) -> bool:
        """Whether an order with the reference was handed over, even if only in part; ``OSError``."""
        self._folder.stat()
        return (self._folder / self.name_of(reference)).exists()

    def hand_over(self, order: NativeOrder, acknowledgement: Cells | None) -> str:
        """Durable on return; an order that is there already stays as it is, unless the registry rejected the file.

        Gives what is to be told of it. ``Unclear`` when another order stands under the reference; ``OSError``.
        """
        path = self._folder / self.name_of(order.external_reference)
        row = self._row(order)
        there = _intact(path)
        if there is not None:
            self._must_be(row, path, there)
        state = acknowledgement.values["状态"] if acknowledgement else None
        if there is not None and not (acknowledgement and state == REJECTED and self._is_news(path, acknowledgement)):
            return f"handed over as {path.name}, {'received' if state == RECEIVED else 'not acknowledged yet'}"
        content = self._form.codec.write(self._form.words.orders, row)
        _write_durably(path, content)
        # Second, because it is what makes the order count.
        line = f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"
        _write_durably(path.with_name(f"{path.name}.sha256"), line.encode())
        return f"handed over as {path.name}"

    def _row(self, order: NativeOrder) -> dict[str, str]:
        days = days_of_period(order.period, CHINA)
        if days is None:
            raise ValueError(f"{order.period} is not whole days")
        values = (order.external_reference, order.fencing_token, order.native_project_id, *days, order.units)
        return dict(zip(self._form.words.order, map(str, values), strict=True))

    def _must_be(self, row: Mapping[str, str], path: Path, content: bytes) -> None:
        try:
            rows = self._form.codec.read(content, self._form.words.orders, self._form.words.order)
        except TableFault as fault:
            raise Unclear(f"{path.name} is there and cannot be read: {fault}") from None
        if [dict(cells.values) for cells in rows] != [dict(row)]:
            raise Unclear(f"{path.name} is there with another order")

    def _is_news(self, path: Path, acknowledgement: Cells) -> bool:
        told = (path.name, tuple(acknowledgement.values.values()))
        if told in self._answered:
            return False
        self._answered.add(told)
        reason = acknowledgement.values["原因"]
        _LOG.warning("registry %s: %s was rejected, written again: %s", self._registry, path.name, reason)
        return True


def _intact(path: Path) -> bytes | None:
    """The content of an order file that agrees with the hash beside it."""
    try:
        content, told = _content(path), _content(path.with_name(f"{path.name}.sha256"))
    except (FileNotFoundError, _NotWhole):
        return None
    return content if told.split() == [hashlib.sha256(content).hexdigest().encode(), path.name.encode()] else None


def _write_durably(path: Path, content: bytes) -> None:
    """Under its name only when it is whole and on the disk, and the name too."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with temporary.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# -- The port ----------------------------------------------------------------------------------------------------------


class FileNative:
    """``NativeRegistry`` over a folder. Whatever is asked is answered by one thread, one question after another."""

    def __init__(self, settings: NativeSettings, form: Form) -> None:
        folder = settings.folder
        self._registry = settings.registry
        self._form = form
        self._inbox = Inbox(folder / "from-registry", form, settings.registry)
        self._outbox = Outbox(folder / "to-registry", form, settings.registry)
        self._timeout_s = settings.timeout_s
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"files-{settings.registry}")
        self._capabilities = NativeCapabilities(
            absence_proof=AbsenceProof.RESEND,
            longest_under_way=timedelta(seconds=settings.longest_under_way_s),
            max_batch=1,
        )

    @property
    def capabilities(self) -> NativeCapabilities:
        """Constant for the life of the object."""
        return self._capabilities

    async def get_project(self, native_project_id: str) -> NativeProject | None:
        """See ``NativeRegistry``; as of the newest delivery."""

        def ask() -> NativeProject | None:
            seen = self._inbox.look()
            return seen.one(seen.delivery.projects, native_project_id)

        return await told(self._in_thread(ask), f"project {native_project_id}")

    async def get_outcome(self, native_project_id: str, period: Period) -> MeasuredOutcome | None:
        """See ``NativeRegistry``; as of the newest delivery."""

        def ask() -> MeasuredOutcome | None:
            seen = self._inbox.look()
            return seen.one(seen.delivery.outcomes, (native_project_id, period))

        return await told(self._in_thread(ask), f"outcome of {native_project_id} in {period}")

    async def issue(self, orders: Sequence[NativeOrder]) -> list[NativeResult]:
        """What the newest delivery says of the one order; else it is handed over, and that is ``NativeUnknown``."""
        return await placed(orders, self._place, registry=self._registry)

    async def _place(self, order: NativeOrder) -> NativeIssuance | NativeRefusal:
        if (unfit := self._unfit(order)) is not None:
            return unfit
        return await self._in_thread(lambda: self._ask_or_hand_over(order))

    def _unfit(self, order: NativeOrder) -> NativeRefusal | None:
        """Why the order cannot be written down, told by itself alone, so that the answer is the same for ever."""
        if days_of_period(order.period, CHINA) is None:
            return not_civil(order, "whole days")
        try:
            written = self._form.project_id(order.native_project_id)
        except CellFault as fault:
            return NativeRefusal("PROJECT_NUMBER_UNFIT", f"{fault}; not sent", lasting=True)
        if written != order.native_project_id:
            message = f"{order.native_project_id} is written {written} in full; not sent"
            return NativeRefusal("PROJECT_NUMBER_UNFIT", message, lasting=True)
        return None

    def _ask_or_hand_over(self, order: NativeOrder) -> NativeIssuance | NativeRefusal:
        try:
            seen = self._inbox.look()
        except Unclear:
            answer = None
        else:
            answer = seen.answered(order.external_reference)
        if isinstance(answer, NativeIssuance):
            return answer
        if isinstance(answer, RefusedOrder):
            if answer.order != order or answer.code not in LASTING:
                raise Unclear(f"a refusal that does not say for certain that this very order is undone: {answer}")
            # Whatever the reason, a refused reference is never taken again.
            return NativeRefusal(answer.code, answer.reason, lasting=True)
        name = self._outbox.name_of(order.external_reference)
        raise Unclear(self._outbox.hand_over(order, self._inbox.acknowledgement(name)))

    async def find(self, external_reference: str) -> NativeIssuance | None:
        """``None`` for a reference that was refused, or never handed over."""

        def ask() -> NativeIssuance | None:
            seen = self._inbox.look()
            answer = seen.answered(external_reference)
            if isinstance(answer, NativeIssuance):
                return answer
            if answer is None:
                seen.must_be_newest()
                seen.delivery.issuances.must_be_read()
                seen.delivery.refusals.must_be_read()
                if self._outbox.holds(external_reference):
                    raise Unclear(
                        f"handed over as {self._outbox.name_of(external_reference)}, and no delivery answers it yet"
                    )
            return None

        return await told(self._in_thread(ask), f"reference {external_reference}")

    async def void(self, external_reference: str) -> NativeIssuance | None:
        """Not possible here; see ``AbsenceProof.RESEND``."""
        raise NativeUnavailable(
            f"{self._registry} cannot void reference {external_reference}; the same order is handed over again instead"
        )

    def list_issuances(self) -> AsyncIterator[NativeIssuance]:
        """All issuances of the newest delivery, which must be whole."""
        return self._listed(
            lambda delivery: delivery.issuances, lambda issuance: issuance.native_issuance_id, "issuance"
        )

    def _listed(
        self, sheet_of: Callable[[Delivery], Sheet[_Row]], key: Callable[[_Row], str], word: str
    ) -> AsyncIterator[_Row]:
        """Each row once; a delivery is one page."""

        async def only_page(_: int) -> tuple[int, Sequence[_Row | Unclear]]:
            sheet = sheet_of(await self._newest())
            rows = [row for rows in sheet.by_key.values() for row in rows]
            return len(rows) + len(sheet.unread), [*rows, *(Unclear(str(fault)) for fault in sheet.unread)]

        return reconciled_by(only_page, key, word)

    async def _newest(self) -> Delivery:
        def ask() -> Delivery:
            seen = self._inbox.look()
            seen.must_be_newest()
            return seen.delivery

        return await told(self._in_thread(ask), "the newest delivery")

    async def _in_thread(self, work: Callable[[], _Found]) -> _Found:
        """``Unclear`` also for a folder that does not answer; the thread goes on then, and what it read is kept."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except TimeoutError:
            raise Unclear(f"the folder did not answer within {self._timeout_s} s") from None
        except (OSError, _NotWhole) as error:
            raise Unclear(f"the folder cannot be used: {error}") from error

    async def close(self) -> None:
        """End the thread, after what it is about."""
        self._thread.shutdown(wait=False, cancel_futures=True)
