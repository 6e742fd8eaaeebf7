"""The green certificate stand-in's HTTP API. All of it is assumed: the real one is not public."""

import sqlite3
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from soleclaim.sandbox.application import build
from soleclaim.sandbox.faults import FaultBoard
from soleclaim.sandbox.fields import (
    FILING_CODE,
    MEGAWATTS,
    PROJECT_CODE,
    REFERENCE,
    USCC,
    BadRequest,
    Refused,
    Row,
    integer,
    json_object,
    objects,
    optional_text,
    page_of,
    text,
)
from soleclaim.sandbox.gec.store import QUANTITY_CLASS, GecStore, IssueOrder, NewFiling, Reading
from soleclaim.sandbox.stand_in import StandIn

MAX_ORDERS: Final = 500
MAX_PAGE_SIZE: Final = 200
ENERGY_TYPES: Final = "风电|光伏|水电|生物质|地热|海洋能"
_MONTH: Final = "20[0-9]{2}-(0[1-9]|1[0-2])"


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"code": code, "message": message}, status_code=status)


def _new_filing(row: Row) -> NewFiling:
    tradable = row.get("tradable", True)
    if not isinstance(tradable, bool):
        raise BadRequest("tradable must be true or false")
    return NewFiling(
        filing_code=text(row, "filingCode", FILING_CODE),
        project_name=text(row, "projectName"),
        owner=text(row, "owner"),
        uscc=optional_text(row, "uscc", USCC),
        project_code=optional_text(row, "projectCode", PROJECT_CODE),
        energy_type=text(row, "energyType", ENERGY_TYPES),
        province=text(row, "province"),
        capacity_mw=optional_text(row, "capacityMw", MEGAWATTS),
        tradable=tradable,
    )


def _reading(row: Row) -> Reading:
    return Reading(text(row, "filingCode", FILING_CODE), text(row, "month", _MONTH), integer(row, "kwh"))


def _issue_order(row: Row) -> IssueOrder:
    return IssueOrder(
        filing_code=text(row, "filingCode", FILING_CODE),
        month=text(row, "generationMonth", _MONTH),
        certificates=integer(row, "certificates", least=1),
        external_reference=text(row, "externalReference", REFERENCE),
        fencing_token=integer(row, "fencingToken"),
    )


def certificate_code(row: sqlite3.Row, sequence: int) -> str:
    """32 characters: filing code (17), YYYYMM (6), sequence (7), quantity class (1), trade class (1)."""
    month = row["month"].replace("-", "")
    return f"{row['filing_code']}{month}{sequence:07d}{QUANTITY_CLASS}{row['trade_class']}"


def _issuance_json(row: sqlite3.Row) -> dict[str, object]:
    first, count = row["first_sequence"], row["certificates"]
    block = {
        "startCode": certificate_code(row, first),
        "endCode": certificate_code(row, first + count - 1),
        "count": count,
    }
    return {
        "issuanceNo": f"GEC{row['id']:012d}",
        "externalReference": row["external_reference"],
        "fencingToken": row["fencing_token"],
        "filingCode": row["filing_code"],
        "generationMonth": row["month"],
        "certificates": count,
        "ranges": [block],
        "issueTime": row["create_time"],
    }


class _Api:
    def __init__(self, store: GecStore, board: FaultBoard) -> None:
        self._store = store
        self._board = board

    async def add_filings(self, request: Request) -> JSONResponse:
        """File projects in bulk."""
        new = [_new_filing(row) for row in objects(await json_object(request), "filings")]
        self._store.add_filings(new)
        return JSONResponse({"accepted": len(new)})

    async def add_readings(self, request: Request) -> JSONResponse:
        """Record meter readings in bulk."""
        new = [_reading(row) for row in objects(await json_object(request), "readings")]
        self._store.add_readings(new)
        return JSONResponse({"accepted": len(new)})

    async def filing(self, request: Request) -> JSONResponse:
        """One filing."""
        filing_code = request.path_params["filing_code"]
        row = self._store.filing(filing_code)
        if row is None:
            return JSONResponse({"code": "FILING_NOT_FOUND", "filingCode": filing_code}, status_code=404)
        return JSONResponse(
            {
                "filingCode": row["filing_code"],
                "projectName": row["project_name"],
                "owner": row["owner"],
                "uscc": row["uscc"],
                "projectCode": row["project_code"],
                "energyType": row["energy_type"],
                "province": row["province"],
                "capacityMw": row["capacity_mw"],
                "tradable": bool(row["tradable"]),
            }
        )

    async def outcome(self, request: Request) -> JSONResponse:
        """What one month yields."""
        filing_code, month = request.path_params["filing_code"], request.path_params["month"]
        echo = {"filingCode": filing_code, "month": text({"month": month}, "month", _MONTH)}
        outcome = self._store.outcome(filing_code, month)
        if outcome is None:
            return JSONResponse({**echo, "status": "NOT_MEASURED"})
        return JSONResponse(
            {
                **echo,
                "status": "MEASURED",
                "kwh": outcome.kwh,
                "carriedInKwh": outcome.carried_in_kwh,
                "issuable": outcome.issuable,
                "issued": outcome.issued,
            }
        )

    async def issue(self, request: Request) -> JSONResponse:
        """Issue a batch; every order has its own answer."""
        rows = objects(await json_object(request), "orders", limit=MAX_ORDERS)
        accepted: list[IssueOrder] = []
        answers: list[dict[str, object]] = [{"externalReference": row.get("externalReference")} for row in rows]
        placed: list[int] = []
        for place, row in enumerate(rows):
            try:
                accepted.append(_issue_order(row))
                placed.append(place)
            except BadRequest as error:
                answers[place] |= {"status": "REFUSED", "code": error.code, "message": error.message}
        for place, result in zip(placed, self._store.issue(accepted), strict=True):
            if isinstance(result, Refused):
                answers[place] |= {"status": "REFUSED", "code": result.code, "message": result.message}
            else:
                answers[place] |= {"status": "ISSUED", "issuance": _issuance_json(result)}
        return JSONResponse({"results": self._board.listed(request.url.path, answers)})

    async def by_reference(self, request: Request) -> JSONResponse:
        """What a reference stands for: ISSUED, VOIDED or NOT_FOUND."""
        wanted = text(request.query_params, "externalReference", REFERENCE)
        row = self._store.issuance(wanted)
        if row is not None:
            body = {"externalReference": wanted, "status": "ISSUED", "issuance": _issuance_json(row)}
            return JSONResponse(body)
        status = "VOIDED" if self._store.is_voided(wanted) else "NOT_FOUND"
        return JSONResponse({"externalReference": wanted, "status": status})

    async def void(self, request: Request) -> JSONResponse:
        """Set a tombstone on a reference, or show the issuance that uses it."""
        wanted = text(await json_object(request), "externalReference", REFERENCE)
        row = self._store.void(wanted)
        if row is None:
            return JSONResponse({"externalReference": wanted, "status": "VOIDED"})
        return JSONResponse({"externalReference": wanted, "status": "ISSUED", "issuance": _issuance_json(row)})

    async def issuances(self, request: Request) -> JSONResponse:
        """All issuances, oldest first."""
        page, wanted = page_of(request.query_params, "page", "size")
        size = self._board.page_size(request.url.path, wanted, MAX_PAGE_SIZE)
        total, rows = self._store.issuances(page, size)
        items = self._board.listed(request.url.path, [_issuance_json(row) for row in rows])
        return JSONResponse({"total": total, "items": items})


def create_app(stand_in: StandIn) -> Starlette:
    """The stand-in on one SQLite file, which is made when it is not there."""
    store, board = GecStore(stand_in.database), FaultBoard()
    api = _Api(store, board)
    routes = [
        Route("/api/v1/filings", api.add_filings, methods=["POST"]),
        Route("/api/v1/filings/{filing_code}", api.filing, methods=["GET"]),
        Route("/api/v1/filings/{filing_code}/outcomes/{month}", api.outcome, methods=["GET"]),
        Route("/api/v1/readings", api.add_readings, methods=["POST"]),
        Route("/api/v1/issuances", api.issue, methods=["POST"]),
        Route("/api/v1/issuances", api.issuances, methods=["GET"]),
        Route("/api/v1/references", api.by_reference, methods=["GET"]),
        Route("/api/v1/references/void", api.void, methods=["POST"]),
    ]
    return build(store=store, board=board, routes=routes, refusal=_error)
