"""The HTTP API of a local credit registry's stand-in. All of it is assumed: the real ones are not public."""

from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from soleclaim.sandbox.application import build
from soleclaim.sandbox.faults import FaultBoard
from soleclaim.sandbox.fields import (
    REFERENCE,
    BadRequest,
    Refused,
    Row,
    integer,
    json_object,
    objects,
    page_of,
    text,
)
from soleclaim.sandbox.ledger import Issued, Ledger, Order
from soleclaim.sandbox.local.filings import LocalRow, days_of, filing_of, reduction_of
from soleclaim.sandbox.stand_in import StandIn

MAX_PAGE_SIZE: Final = 50


def _done(result: object, **echo: object) -> JSONResponse:
    return JSONResponse({"success": True, **echo, "result": result})


def _refusal(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"success": False, "errorCode": code, "errorMsg": message}, status_code=status)


def _not_found(echo: Row) -> JSONResponse:
    return JSONResponse({"success": False, **echo, "errorCode": "NOT_FOUND", "errorMsg": "无此记录"}, status_code=404)


def _issuance_json(issued: Issued) -> dict[str, object]:
    return {
        "creditNo": f"{issued.first_day[:4]}-{issued.id:06d}",
        "filingNo": issued.project,
        "from": issued.first_day,
        "to": issued.last_day,
        "tonnes": issued.units,
        "reference": issued.reference,
        "token": issued.token,
        "serialFrom": f"{issued.series}-{issued.first_serial:08d}",
        "serialTo": f"{issued.series}-{issued.last_serial:08d}",
        "issueTime": issued.create_time,
    }


class _Api:
    def __init__(self, ledger: Ledger, board: FaultBoard, row: LocalRow) -> None:
        self._ledger = ledger
        self._board = board
        self._row = row
        self._filing_pattern = row.filing_pattern

    async def add_filings(self, request: Request) -> JSONResponse:
        """File projects in bulk."""
        filings = [filing_of(row, self._row) for row in objects(await json_object(request), "filings")]
        self._ledger.add_projects([(str(filing["filingNo"]), filing) for filing in filings])
        return _done({"accepted": len(filings)})

    async def add_reductions(self, request: Request) -> JSONResponse:
        """Record verified reductions in bulk; whole tonnes of one may be issued."""
        new = [reduction_of(row) for row in objects(await json_object(request), "reductions")]
        self._ledger.add_results(new)
        return _done({"accepted": len(new)})

    async def filing(self, request: Request) -> JSONResponse:
        """One filed project."""
        echo = {"filingNo": request.path_params["number"]}
        found = self._ledger.project(echo["filingNo"])
        return _not_found(echo) if found is None else _done(found, **echo)

    async def reduction(self, request: Request) -> JSONResponse:
        """The reduction of exactly these days."""
        asked = request.path_params
        first, last = days_of(asked)
        echo = {"filingNo": asked["number"], "from": first, "to": last}
        found = self._ledger.result(*echo.values())
        return _not_found(echo) if found is None else _done({**echo, **found.fields}, **echo)

    async def issue(self, request: Request) -> JSONResponse:
        """Issue credits; every answer names the reference it is about."""
        body = await json_object(request)
        echo = {"reference": body.get("reference")}
        try:
            order = Order(
                text(body, "filingNo", self._filing_pattern),
                *days_of(body),
                integer(body, "tonnes", least=1, most=99_999_999),
                text(body, "reference", REFERENCE),
                integer(body, "token"),
            )
            issued = self._ledger.issue(order)
        except Refused as refused:
            status = 400 if isinstance(refused, BadRequest) else 409
            told = {"success": False, **echo, "errorCode": refused.code, "errorMsg": refused.message}
            return JSONResponse(told, status_code=status)
        return _done(_issuance_json(issued), **echo)

    async def by_reference(self, request: Request) -> JSONResponse:
        """The issuance with a reference."""
        echo = {"reference": text(request.query_params, "reference", REFERENCE)}
        found = self._ledger.find(echo["reference"])
        return _not_found(echo) if found is None else _done(_issuance_json(found), **echo)

    async def credits(self, request: Request) -> JSONResponse:
        """All issuances, oldest first; ids of the book have no gaps."""
        page, wanted = page_of(request.query_params, "page", "rows")
        size = self._board.page_size(request.url.path, wanted, MAX_PAGE_SIZE)
        rows: list[Row] = [_issuance_json(each) for each in self._ledger.issuances(after=(page - 1) * size, limit=size)]
        return _done(self._board.listed(request.url.path, rows), total=self._ledger.issuance_count())


def create_app(stand_in: StandIn, row: LocalRow) -> Starlette:
    """The stand-in of one registry, ``row`` of the table, on one SQLite file, which is made when it is not there."""
    ledger = Ledger(stand_in.database, row.series)
    board = FaultBoard()
    api = _Api(ledger, board, row)
    routes = [
        Route("/office/filings", api.add_filings, methods=["POST"]),
        Route("/office/reductions", api.add_reductions, methods=["POST"]),
        Route("/api/filings/{number}", api.filing, methods=["GET"]),
        Route("/api/filings/{number}/reductions/{from}/{to}", api.reduction, methods=["GET"]),
        Route("/api/credits", api.issue, methods=["POST"]),
        Route("/api/credits", api.credits, methods=["GET"]),
        Route("/api/references", api.by_reference, methods=["GET"]),
    ]
    return build(store=ledger, board=board, routes=routes, refusal=_refusal)
