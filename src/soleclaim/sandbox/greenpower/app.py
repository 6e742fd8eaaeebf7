"""The HTTP API of a power exchange's stand-in. All of it is assumed: the real ones are not public."""

from typing import Annotated, Final, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from soleclaim.sandbox.application import build
from soleclaim.sandbox.faults import FaultBoard
from soleclaim.sandbox.fields import (
    FILING_CODE,
    PROJECT_CODE,
    USCC,
    BadRequest,
    Refused,
    Row,
    json_object,
    objects,
    optional_text,
    page_of,
    text,
)
from soleclaim.sandbox.ledger import Ledger
from soleclaim.sandbox.registries import YEAR, Pattern, RegistryRow, registry_row, template
from soleclaim.sandbox.stand_in import StandIn

BASE: Final = "/trade/v1"
MAX_PAGE_SIZE: Final = 100
KIND: Final = "settlement"

_CERTIFICATE: Final = "[0-9A-Z]{17}[0-9]{13}[0-9A-Z]{2}"
_SEQUENCE: Final = slice(23, 30)
_AMOUNT: Final = {"kWh": "[0-9]{1,12}", "MWh": r"[0-9]{1,9}(\.[0-9]{1,3})?"}


class ExchangeRow(RegistryRow):
    """See ``registries.toml``."""

    settlement: Annotated[str, template(year=YEAR, month=f"{YEAR}01", number=1)]
    contract_pattern: Pattern
    energy_unit: Literal["kWh", "MWh"]


def _told(**fields: object) -> JSONResponse:
    return JSONResponse({"status": 0, "message": "ok", **fields})


def _refusal(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"status": status, "message": f"{code}: {message}"}, status_code=status)


def _station(row: Row) -> dict[str, object]:
    return {
        "filingCode": text(row, "filingCode", FILING_CODE),
        "stationName": text(row, "stationName"),
        "owner": text(row, "owner"),
        "energyType": text(row, "energyType"),
        "province": text(row, "province"),
        "projectCode": optional_text(row, "projectCode", PROJECT_CODE),
    }


def _range(row: Row) -> dict[str, object]:
    first, last = text(row, "startCode", _CERTIFICATE), text(row, "endCode", _CERTIFICATE)
    count = int(last[_SEQUENCE]) - int(first[_SEQUENCE]) + 1
    if count < 1:
        raise BadRequest("endCode must not lie before startCode; both are inclusive")
    return {"startCode": first, "endCode": last, "count": count}


class _Api:
    def __init__(self, ledger: Ledger, board: FaultBoard, row: ExchangeRow) -> None:
        self._ledger = ledger
        self._board = board
        self._settlement = row.settlement
        self._contract_pattern = row.contract_pattern
        self._amount = _AMOUNT[row.energy_unit]

    # -- The exchange's own desk: not part of the native API --------------------------------------------------------

    async def add_stations(self, request: Request) -> JSONResponse:
        """Enter stations in bulk."""
        stations = [_station(row) for row in objects(await json_object(request), "stations")]
        self._ledger.add_projects([(str(station["filingCode"]), station) for station in stations])
        return _told(accepted=len(stations))

    async def add_settlements(self, request: Request) -> JSONResponse:
        """Settle lines in bulk, or correct what was settled. That a certificate moved before is not looked at."""
        lines = [self._line(row) for row in objects(await json_object(request), "lines")]
        numbered = [self._number(self._ledger.add_movement(KIND, line), line) for line in lines]
        return _told(settlementNos=numbered)

    def _line(self, row: Row) -> dict[str, object]:
        filing_code = text(row, "filingCode", FILING_CODE)
        if self._ledger.project(filing_code) is None:
            raise Refused("STATION_NOT_FOUND", f"there is no station {filing_code}")
        corrects = optional_text(row, "corrects")
        if corrects is not None and corrects not in self._numbers():
            raise Refused("LINE_NOT_FOUND", f"there is no line {corrects} to correct")
        return {
            "corrects": corrects,
            "filingCode": filing_code,
            "contractNo": text(row, "contractNo", self._contract_pattern),
            "month": text(row, "month", "[0-9]{4}-(0[1-9]|1[0-2])"),
            "energy": text(row, "energy", self._amount),
            "buyerCode": text(row, "buyerCode", USCC),
            "certificates": [_range(each) for each in objects(row, "certificates")] if row.get("certificates") else [],
        }

    def _numbers(self) -> set[str]:
        return {self._number(number, line) for number, line in self._ledger.movements(KIND)}

    def _number(self, number: int, line: Row) -> str:
        month = str(line["month"])
        return self._settlement.format(year=month[:4], month=month.replace("-", ""), number=number)

    # -- The native API ---------------------------------------------------------------------------------------------

    async def station(self, request: Request) -> JSONResponse:
        """One station, or null."""
        filing_code = request.path_params["filing_code"]
        return _told(filingCode=filing_code, station=self._ledger.project(filing_code))

    async def settlements(self, request: Request) -> JSONResponse:
        """All lines, oldest first; numbers of the book have no gaps."""
        page, wanted = page_of(request.query_params, "page", "size")
        size = self._board.page_size(request.url.path, wanted, MAX_PAGE_SIZE)
        rows: list[Row] = [
            {"settlementNo": self._number(number, line), **line}
            for number, line in self._ledger.movements(KIND, after=(page - 1) * size, limit=size)
        ]
        return _told(total=self._ledger.movement_count(KIND), lines=self._board.listed(request.url.path, rows))


def create_app(stand_in: StandIn) -> Starlette:
    """The stand-in of one exchange on one SQLite file, which is made when it is not there."""
    row = registry_row(__package__, stand_in.registry, ExchangeRow)
    ledger = Ledger(stand_in.database)
    board = FaultBoard()
    api = _Api(ledger, board, row)
    routes = [
        Route("/office/stations", api.add_stations, methods=["POST"]),
        Route("/office/settlements", api.add_settlements, methods=["POST"]),
        Route(f"{BASE}/stations/{{filing_code}}", api.station, methods=["GET"]),
        Route(f"{BASE}/settlements", api.settlements, methods=["GET"]),
    ]
    return build(store=ledger, board=board, routes=routes, refusal=_refusal)
