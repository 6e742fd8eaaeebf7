"""A registry that exchanges files: by night it reads orders from one folder and writes deliveries into another.

All of it is assumed. The real ones are not public.
"""

import asyncio
import contextlib
import csv
import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from soleclaim.sandbox.application import build
from soleclaim.sandbox.faults import FaultBoard
from soleclaim.sandbox.fields import AMOUNT, REFERENCE, BadRequest, Refused, Row, day, json_object, text
from soleclaim.sandbox.ledger import Ledger, Order
from soleclaim.sandbox.stand_in import StandIn, StandInFault

ENCODING: Final = "gb18030"
MANIFEST: Final = ("批次号", "修订号", "表", "文件名", "SHA-256", "行数")
ACKNOWLEDGEMENT: Final = ("文件名", "SHA-256", "状态", "原因")
RECEIVED: Final = "已接收"
REJECTED: Final = "已拒收"
REFUSAL: Final = "refusal"
DELIVERY: Final = "delivery"


@dataclass(frozen=True, slots=True)
class TableOut:
    """A table of a delivery. ``part``: in file names; ``name``: in the manifest, and of the sheet in a workbook."""

    part: str
    name: str
    headings: tuple[str, ...]
    rows: Sequence[Sequence[object]]

    def without_last(self) -> "TableOut":
        """The table as it is before a correction."""
        return TableOut(self.part, self.name, self.headings, self.rows[:-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What is particular to a family. ``order``: headings of reference, token, project, first and last day, units."""

    workbook: bool
    project_pattern: str
    order: tuple[str, str, str, str, str, str]
    issued: tuple[str, str, str, str]
    """Headings of issuance number, series, first and last serial."""
    refused: tuple[str, str]
    """Headings of code and reason."""
    orders: str
    issuances: str
    refusals: str
    """Names of these tables."""
    tables: Callable[[Ledger], Sequence[TableOut]]
    """All the others."""


class Drop:
    """One registry's folder. Used on the event loop only."""

    def __init__(self, folder: Path, ledger: Ledger, board: FaultBoard, form: Form) -> None:
        self._in = folder / "to-registry"
        self._out = folder / "from-registry"
        for each in (self._in, self._out):
            each.mkdir(exist_ok=True)
        self._ledger = ledger
        self._board = board
        self._form = form
        self._late: list[tuple[str, bytes]] = []
        self._to_correct = 0
        self._timer: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Nights end; close the book."""
        self.every(0)
        self._ledger.close()

    def every(self, night_s: float) -> None:
        """A night every so many seconds; none with 0."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if night_s:
            self._timer = asyncio.create_task(self._nights(night_s))

    async def _nights(self, night_s: float) -> None:
        while True:
            await asyncio.sleep(night_s)
            self.night()

    def night(self) -> dict[str, object]:
        """Read orders, answer them, and deliver; what was late yesterday comes first."""
        for name, content in self._late:
            _write(self._out / name, content)
        self._late.clear()
        taken = [path.name for path in sorted(self._in.glob(f"order-*.{self._suffix}")) if self._take(path)]
        number, revision = self._to_correct or self._ledger.movement_count(DELIVERY) + 1, 2 if self._to_correct else 1
        if revision == 1:
            self._ledger.add_movement(DELIVERY, {"number": number})
        self._to_correct = 0
        self._deliver(number, revision)
        return {"delivery": f"{number:06d}", "revision": revision, "orders": taken}

    # -- Orders ----------------------------------------------------------------------------------------------------

    @property
    def _suffix(self) -> str:
        return "xlsx" if self._form.workbook else "csv"

    def _take(self, path: Path) -> bool:
        """Read one order file and acknowledge it; one that is not whole yet is left for another night."""
        told = path.with_name(f"{path.name}.sha256")
        if not told.exists():
            return False
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        reason = "校验值不符"
        if told.read_text(encoding="ascii", errors="replace").split() == [digest, path.name]:
            reason = self._work(content)
        if self._board.take(f"/{path.name}", frozenset({"lost_ack"})) is None:
            row = (path.name, digest, REJECTED if reason else RECEIVED, reason)
            _write(self._out / f"ack-{path.stem}.csv", _csv([ACKNOWLEDGEMENT, row], ENCODING))
        return not reason

    def _work(self, content: bytes) -> str:
        """Issue or refuse; gives why the file is rejected as a whole, or nothing. May be done again."""
        try:
            row = self._order_row(content)
            reference = text(row, self._form.order[0], REFERENCE)
        except (BadRequest, ValueError, zipfile.BadZipFile, KeyError) as error:
            return f"文件不可读：{error}"
        if any(refused[0] == reference for refused in self._refusals()):
            return ""
        try:
            self._ledger.issue(self._order(row))
        except Refused as refused:
            if refused.code == "REFERENCE_REUSED":
                return refused.message
            order = [row[heading] for heading in self._form.order]
            self._ledger.add_movement(REFUSAL, {"row": [*order, refused.code, refused.message]})
        return ""

    def _refusals(self) -> list[list[object]]:
        """Rows of the table, references first."""
        rows = []
        for _, fields in self._ledger.movements(REFUSAL):
            row = fields["row"]
            assert isinstance(row, list)  # noqa: S101  our own
            rows.append(row)
        return rows

    def _order_row(self, content: bytes) -> Row:
        lines: list[list[str]]
        if self._form.workbook:
            # Imported where it is needed: it brings numpy along, and most stand-ins have no use for it.
            import openpyxl  # noqa: PLC0415

            with contextlib.closing(openpyxl.load_workbook(io.BytesIO(content), read_only=True)) as book:
                lines = [[str(cell) for cell in row] for row in book[self._form.orders].iter_rows(values_only=True)]
        else:
            lines = list(csv.reader(io.StringIO(content.decode(ENCODING), newline=""), strict=True))
        if len(lines) != 2 or tuple(lines[0]) != self._form.order or len(lines[1]) != len(lines[0]):
            raise BadRequest(f"one order under {', '.join(self._form.order)} is due")
        return dict(zip(lines[0], lines[1], strict=True))

    def _order(self, row: Row) -> Order:
        reference, token, project, first_day, last_day, units = self._form.order
        order = Order(
            text(row, project, self._form.project_pattern),
            day(row, first_day),
            day(row, last_day),
            int(text(row, units, AMOUNT)),
            text(row, reference, REFERENCE),
            int(text(row, token, "[0-9]{1,18}")),
        )
        if order.units < 1:
            raise BadRequest(f"{units} must be 1 or more")
        return order

    # -- Deliveries ------------------------------------------------------------------------------------------------

    def _deliver(self, number: int, revision: int) -> None:
        tables = [self._as_it_goes_out(table, number, revision) for table in self._tables()]
        files = self._workbook(number, tables) if self._form.workbook else self._csv_files(number, tables)
        lines: list[Sequence[object]] = [MANIFEST]
        for name, content, inside in files:
            digest = hashlib.sha256(content).hexdigest()
            lines += [(number, revision, table.name, name, digest, len(table.rows)) for table in inside]
            self._put(name, content)
        # Last, because it is what makes the delivery count.
        self._put(f"{number:06d}-manifest.csv", _csv(lines, ENCODING))

    def _as_it_goes_out(self, table: TableOut, number: int, revision: int) -> TableOut:
        if revision == 1 and table.rows and self._board.take(f"/{table.part}", frozenset({"resent_delivery"})):
            self._to_correct = number
            return table.without_last()
        return table

    def _tables(self) -> list[TableOut]:
        form = self._form
        issued = [
            (
                *(each.reference, each.token, each.project, each.first_day, each.last_day, each.units),
                *(f"QF{each.id:010d}", each.series, f"{each.first_serial:010d}", f"{each.last_serial:010d}"),
            )
            for each in self._ledger.issuances()
        ]
        return [
            *form.tables(self._ledger),
            TableOut("issuances", form.issuances, (*form.order, *form.issued), issued),
            TableOut("refusals", form.refusals, (*form.order, *form.refused), self._refusals()),
        ]

    def _csv_files(self, number: int, tables: Sequence[TableOut]) -> list[tuple[str, bytes, Sequence[TableOut]]]:
        files: list[tuple[str, bytes, Sequence[TableOut]]] = []
        for table in tables:
            spoiled = self._board.take(f"/{table.part}", frozenset({"wrong_encoding"})) is not None
            content = _csv([table.headings, *table.rows], "utf-8" if spoiled else ENCODING)
            files.append((f"{number:06d}-{table.part}.csv", content, [table]))
        return files

    def _workbook(self, number: int, tables: Sequence[TableOut]) -> list[tuple[str, bytes, Sequence[TableOut]]]:
        import openpyxl  # noqa: PLC0415  as above

        book = openpyxl.Workbook(write_only=True)
        for table in tables:
            sheet = book.create_sheet(table.name)
            for line in (table.headings, *table.rows):
                sheet.append(list(line))
        written = io.BytesIO()
        book.save(written)
        return [(f"{number:06d}-delivery.xlsx", written.getvalue(), tables)]

    def _put(self, name: str, content: bytes) -> None:
        """Write one file of a delivery, or do with it what a fault says."""
        part = f"/{name[7:]}"
        if self._board.take(part, frozenset({"late_file"})) is not None:
            self._late.append((name, content))
            return
        if self._board.take(part, frozenset({"half_file"})) is not None:
            (self._out / name).write_bytes(content[: len(content) // 2])
            return
        _write(self._out / name, content)
        if self._board.take(part, frozenset({"doubled_file"})) is not None:
            stem, _, suffix = name.rpartition(".")
            _write(self._out / f"{stem} (1).{suffix}", content)


def _csv(lines: Sequence[Sequence[object]], encoding: str) -> bytes:
    written = io.StringIO(newline="")
    csv.writer(written).writerows(lines)
    return written.getvalue().encode(encoding)


def _write(path: Path, content: bytes) -> None:
    """Whole, or not there."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    temporary.replace(path)


def _answer(**data: object) -> JSONResponse:
    return JSONResponse({"result": "ok", **data})


def _refusal(status: int, code: str, message: str) -> JSONResponse:
    """How the desk says no."""
    return JSONResponse({"result": "refused", "code": code, "message": message}, status_code=status)


Desk = Callable[[Ledger, Row], int]
"""Takes a body into the book; gives the number of its rows."""


def create_app(stand_in: StandIn, series: str, form: Form, desk: Mapping[str, Desk]) -> Starlette:
    """A stand-in over the folder, with the authority's ``desk`` (by path) and the nights over HTTP; ``series``: see
    ``Ledger``.
    """
    if stand_in.folder is None:
        raise StandInFault(f"registry {stand_in.registry} exchanges files; give the folder (--folder)")
    ledger = Ledger(stand_in.database, series)
    board = FaultBoard()
    drop = Drop(stand_in.folder, ledger, board, form)

    async def night(request: Request) -> JSONResponse:
        if request.method == "POST":
            return _answer(**drop.night())
        night_s = (await json_object(request)).get("night_s")
        if isinstance(night_s, bool) or not isinstance(night_s, int | float) or not 0 <= night_s <= 31 * 86_400:
            raise BadRequest("night_s must be seconds from 0 (no nights) to a month")
        drop.every(night_s)
        return _answer(night_s=night_s)

    def taking(take: Desk) -> Callable[[Request], object]:
        async def handle(request: Request) -> JSONResponse:
            return _answer(accepted=take(ledger, await json_object(request)))

        return handle

    routes = [Route(path, taking(take), methods=["POST"]) for path, take in desk.items()]
    routes.append(Route("/night", night, methods=["POST", "PUT"]))
    return build(store=drop, board=board, routes=routes, refusal=_refusal)
