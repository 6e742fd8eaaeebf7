"""The HTTP API of an emission trading system's stand-in. All of it is assumed: the real ones are not public."""

from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from soleclaim.sandbox.application import build
from soleclaim.sandbox.ets.surrender import KIND, EtsRow, OffsetRule, credits_of, surrender
from soleclaim.sandbox.faults import FaultBoard
from soleclaim.sandbox.fields import (
    AMOUNT,
    MEGAWATTS,
    PROJECT_CODE,
    REFERENCE,
    USCC,
    Refused,
    Row,
    integer,
    json_object,
    objects,
    optional_text,
    page_of,
    statement_days,
    text,
)
from soleclaim.sandbox.ledger import Issued, Ledger, NewResult, Order
from soleclaim.sandbox.registries import registry_row
from soleclaim.sandbox.signature import Gate
from soleclaim.sandbox.stand_in import StandIn, StandInFault

BASE: Final = "/openapi/v1"
MAX_PAGE_SIZE: Final = 50


def _envelope(data: object, **echo: object) -> JSONResponse:
    return JSONResponse({"retCode": "0000", "retMsg": "成功", **echo, "data": data})


def _refusal(status: int, code: str, message: str) -> JSONResponse:  # noqa: ARG001  errors inside HTTP 200
    return JSONResponse({"retCode": code, "retMsg": message, "data": None})


def _not_let_in(code: str, message: str, now_s: int) -> JSONResponse:
    return JSONResponse({"retCode": code, "retMsg": message, "serverTime": now_s}, status_code=401)


def _year(row: Row) -> int:
    return integer(row, "complianceYear", least=2000, most=2100)


def _days(year: int) -> tuple[str, str]:
    return f"{year}-01-01", f"{year}-12-31"


def _issuance_json(issued: Issued) -> dict[str, object]:
    block = {
        "series": issued.series,
        "from": f"{issued.first_serial:010d}",
        "to": f"{issued.last_serial:010d}",
    }
    return {
        "issueNo": f"ALW{issued.id:012d}",
        "externalRef": issued.reference,
        "fencingToken": issued.token,
        "unitId": issued.project,
        "complianceYear": int(issued.first_day[:4]),
        "quantity": str(issued.units),
        "blocks": [block],
        "issueTime": issued.create_time,
    }


class _Api:
    def __init__(self, ledger: Ledger, board: FaultBoard, row: EtsRow) -> None:
        self._ledger = ledger
        self._board = board
        self._unit_pattern = row.unit_pattern
        self._rule = OffsetRule.of(row)

    def _unit(self, row: Row) -> dict[str, object]:
        return {
            "unitId": text(row, "unitId", self._unit_pattern),
            "unitName": text(row, "unitName"),
            "uscc": text(row, "uscc", USCC),
            "sector": text(row, "sector"),
            "province": text(row, "province"),
            "installedMw": optional_text(row, "installedMw", MEGAWATTS),
            "projectCode": optional_text(row, "projectCode", PROJECT_CODE),
        }

    # -- The authority's own desk: not part of the native API, and not signed ---------------------------------------

    async def add_units(self, request: Request) -> JSONResponse:
        """Open accounts for units in bulk."""
        units = [self._unit(row) for row in objects(await json_object(request), "units")]
        self._ledger.add_projects([(str(unit["unitId"]), unit) for unit in units])
        return _envelope({"accepted": len(units)})

    async def add_allocations(self, request: Request) -> JSONResponse:
        """Approve allocations in bulk; verified emissions may be told with them."""
        new = [self._allocation(row) for row in objects(await json_object(request), "allocations")]
        self._ledger.add_results(new)
        return _envelope({"accepted": len(new)})

    def _allocation(self, row: Row) -> NewResult:
        emissions = {
            name: integer(row, key)
            for name, key in (("emissions", "emissions"), ("emissions_before", "emissionsBefore"))
            if row.get(key) is not None
        }
        unit_id = text(row, "unitId", self._unit_pattern)
        return NewResult(unit_id, *_days(_year(row)), integer(row, "approved"), emissions)

    async def add_statements(self, request: Request) -> JSONResponse:
        """State who is covered, or correct what was stated."""
        rows = objects(await json_object(request), "statements")
        for row in rows:
            fields = {**self._unit(row), "boundary": text(row, "boundary"), **statement_days(row)}
            self._ledger.add_membership(text(row, "entryNo"), fields, optional_text(row, "corrects"))
        return _envelope({"accepted": len(rows)})

    # -- The native API: signed --------------------------------------------------------------------------------------

    async def unit(self, request: Request) -> JSONResponse:
        """One unit's account."""
        unit_id = request.path_params["unit_id"]
        return _envelope(self._ledger.project(unit_id), unitId=unit_id)

    async def allocation(self, request: Request) -> JSONResponse:
        """What is approved for a unit's year."""
        unit_id, year = request.path_params["unit_id"], request.path_params["year"]
        found = self._ledger.result(unit_id, *_days(year))
        data = found and {"unitId": unit_id, "complianceYear": year, "approved": str(found.amount)}
        return _envelope(data, unitId=unit_id, complianceYear=year)

    async def issue(self, request: Request) -> JSONResponse:
        """Issue allowances; every answer names the reference it is about."""
        body = await json_object(request)
        echo = {"externalRef": body.get("externalRef")}
        try:
            order = Order(
                text(body, "unitId", self._unit_pattern),
                *_days(_year(body)),
                integer({"quantity": int(text(body, "quantity", AMOUNT))}, "quantity", least=1),
                text(body, "externalRef", REFERENCE),
                integer(body, "fencingToken"),
            )
            issued = self._ledger.issue(order)
        except Refused as refused:
            return JSONResponse({"retCode": refused.code, "retMsg": refused.message, **echo, "data": None})
        return _envelope(_issuance_json(issued), **echo)

    async def by_reference(self, request: Request) -> JSONResponse:
        """The issuance with an external reference, or null."""
        wanted = text(request.query_params, "externalRef", REFERENCE)
        found = self._ledger.find(wanted)
        return _envelope(found and _issuance_json(found), externalRef=wanted)

    def _page(self, request: Request) -> tuple[int, int]:
        """What to begin after, and how many: ids of the book have no gaps."""
        page, wanted = page_of(request.query_params, "pageNo", "pageSize")
        size = self._board.page_size(request.url.path, wanted, MAX_PAGE_SIZE)
        return (page - 1) * size, size

    def _listed(self, request: Request, rows: list[Row], total: int) -> JSONResponse:
        return _envelope(self._board.listed(request.url.path, rows), totalCount=total)

    async def issuances(self, request: Request) -> JSONResponse:
        """All issuances, oldest first."""
        after, limit = self._page(request)
        rows: list[Row] = [_issuance_json(each) for each in self._ledger.issuances(after=after, limit=limit)]
        return self._listed(request, rows, self._ledger.issuance_count())

    async def statements(self, request: Request) -> JSONResponse:
        """The list of covered units: every statement in the order made, corrections among them."""
        after, limit = self._page(request)
        rows: list[Row] = [
            {"entryNo": code, "corrects": corrects, **fields}
            for _, code, corrects, fields in self._ledger.memberships(after=after, limit=limit)
        ]
        return self._listed(request, rows, self._ledger.membership_count())

    async def surrender(self, request: Request) -> JSONResponse:
        """Give allowances, and credits up to the limit, for a unit's year."""
        body = await json_object(request)
        given = credits_of(body)
        year = self._ledger.result(text(body, "unitId", self._unit_pattern), *_days(_year(body)))
        if year is None:
            raise Refused("NOT_MEASURED", f"nothing is allocated to {body['unitId']} for {body['complianceYear']}")
        order = {
            "surrenderNo": text(body, "surrenderNo", REFERENCE),
            "unitId": year.project,
            "complianceYear": _year(body),
            "allowances": text(body, "allowances", AMOUNT),
            "credits": str(sum(each.count for each in given)),
            "offsets": body.get("offsets") or [],
        }
        return _envelope(surrender(self._ledger, self._rule, year, order, given))

    async def surrenders(self, request: Request) -> JSONResponse:
        """All that was surrendered, oldest first."""
        after, limit = self._page(request)
        rows = [fields for _, fields in self._ledger.movements(KIND, after=after, limit=limit)]
        return self._listed(request, rows, self._ledger.movement_count(KIND))


def create_app(stand_in: StandIn) -> Starlette:
    """The stand-in of one system on one SQLite file, which is made when it is not there. Its key id is its code."""
    row = registry_row(__package__, stand_in.registry, EtsRow)
    if not stand_in.secret:
        raise StandInFault("an emission trading system takes signed requests only; give the secret (--secret-file)")
    ledger = Ledger(stand_in.database, row.series)
    board = FaultBoard()
    api = _Api(ledger, board, row)
    gate = Gate(stand_in.registry, stand_in.secret, board, _not_let_in)
    desk = {
        "/office/units": api.add_units,
        "/office/allocations": api.add_allocations,
        "/office/covered-units": api.add_statements,
    }
    signed = [
        ("GET", "/units/{unit_id}", api.unit),
        ("GET", "/units/{unit_id}/allocations/{year:int}", api.allocation),
        ("POST", "/allowance-issues", api.issue),
        ("GET", "/allowance-issues/by-reference", api.by_reference),
        ("GET", "/allowance-issues", api.issuances),
        ("GET", "/covered-units", api.statements),
        ("POST", "/surrenders", api.surrender),
        ("GET", "/surrenders", api.surrenders),
    ]
    routes = [Route(path, handler, methods=["POST"]) for path, handler in desk.items()]
    routes += [Route(f"{BASE}{path}", gate.guard(handler), methods=[method]) for method, path, handler in signed]
    return build(store=ledger, board=board, routes=routes, refusal=_refusal)
