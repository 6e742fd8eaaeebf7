"""The CCER stand-in's HTTP API: the real public lists, and an assumed side for participants."""

import sqlite3
from datetime import date
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from soleclaim.sandbox.application import build
from soleclaim.sandbox.ccer.store import SECOND_ID, CcerStore, IssueOrder, NewProject, NewReduction
from soleclaim.sandbox.faults import FaultBoard
from soleclaim.sandbox.fields import (
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
    text,
)
from soleclaim.sandbox.stand_in import StandIn

MAX_PAGE_SIZE: Final = 50
_ID: Final = r"[0-9]{19}"
_STATUS_NAMES: Final = {"1": "公示中", "2": "已登记", "3": "公示中", "4": "已登记", "5": "已签发"}
_SECOND_ID_KEYS: Final = {"2": "projectInfoId", "4": "certificationId", "5": "ccerId"}


def _envelope(data: object, *, total: int | None = None, echo: Row | None = None) -> JSONResponse:
    body: dict[str, object] = {"successful": True, "msg": None, **(echo or {})}
    if total is not None:
        body["total"] = total
    return JSONResponse({**body, "dataInfo": data})


def _refusal(status: int, code: str, message: str) -> JSONResponse:  # noqa: ARG001  errors inside HTTP 200
    return JSONResponse({"successful": False, "code": code, "msg": message, "dataInfo": None})


def _date(row: Row, key: str) -> str:
    value = text(row, key, r"[0-9]{8}")
    try:
        date.fromisoformat(value)
    except ValueError:
        raise BadRequest(f"{key} must be a day YYYYMMDD, not {value!r}") from None
    return value


def _registered(row: Row) -> bool:
    return (optional_text(row, "stage", "public|registered") or "registered") == "registered"


def _new_project(row: Row) -> NewProject:
    project_type_name = text(row, "projectTypeName")
    return NewProject(
        project_info_id=optional_text(row, "projectInfoId", _ID),
        project_code=optional_text(row, "projectCode", PROJECT_CODE),
        name=text(row, "projectName"),
        organisation=text(row, "orgCustomerName"),
        uscc=optional_text(row, "orgUscc", USCC),
        project_type=text(row, "projectType", r"[A-Z][0-9]{4}"),
        project_type_name=project_type_name,
        methodology=text(row, "methodologyNum", r"CCER-[0-9]{2}-[0-9]{3}-V[0-9]{2}"),
        methodology_name=optional_text(row, "methodologyName") or project_type_name,
        province=text(row, "provinceName"),
        capacity_mw=optional_text(row, "capacityMw", MEGAWATTS),
        expected_per_year=integer(row, "expectYearNum"),
        public_start=_date(row, "publicStartDate") if row.get("publicStartDate") is not None else None,
        registered=_registered(row),
    )


def _new_reduction(row: Row) -> NewReduction:
    return NewReduction(
        project_info_id=text(row, "projectInfoId", _ID),
        start_date=_date(row, "startDate"),
        end_date=_date(row, "endDate"),
        certified=integer(row, "certifiedNum"),
        public_start=_date(row, "publicStartDate") if row.get("publicStartDate") is not None else None,
        registered=_registered(row),
    )


def _issue_order(row: Row) -> IssueOrder:
    return IssueOrder(
        project_info_id=text(row, "projectInfoId"),
        start_date=_date(row, "startDate"),
        end_date=_date(row, "endDate"),
        number=integer(row, "issueNum", least=1),
        external_reference=text(row, "externalReference", REFERENCE),
        fencing_token=integer(row, "fencingToken"),
    )


def _project_json(row: sqlite3.Row) -> dict[str, object]:
    return {
        "projectInfoId": row["project_info_id"],
        "applyId": row["apply_id"],
        "projectCode": row["project_code"],
        "projectName": row["name"],
        "orgCustomerName": row["organisation"],
        "orgUscc": row["uscc"],
        "projectType": row["project_type"],
        "projectTypeName": row["project_type_name"],
        "capacityMw": row["capacity_mw"],
        "registered": bool(row["registered"]),
    }


def _reduction_json(row: sqlite3.Row) -> dict[str, object]:
    return {
        "certificationId": row["certification_id"],
        "applyId": row["apply_id"],
        "projectInfoId": row["project_info_id"],
        "startDate": row["start_date"],
        "endDate": row["end_date"],
        "certifiedNum": row["certified"],
        "registered": bool(row["registered"]),
    }


def _issuance_json(row: sqlite3.Row) -> dict[str, object]:
    block = {"series": row["series"], "startNo": row["first_number"], "endNo": row["last_number"]}
    return {
        "ccerId": row["ccer_id"],
        "certificationId": row["certification_id"],
        "projectInfoId": row["project_info_id"],
        "startDate": row["start_date"],
        "endDate": row["end_date"],
        "issuedNum": row["issued"],
        "externalReference": row["external_reference"],
        "fencingToken": row["fencing_token"],
        "serialBlocks": [block],
        "createTime": row["create_time"],
    }


class _Api:
    def __init__(self, store: CcerStore, board: FaultBoard) -> None:
        self._store = store
        self._board = board

    def _page(self, request: Request, body: Row) -> tuple[int, int]:
        size = integer(body, "pageSize", least=1)
        return integer(body, "pageNumber", least=1), self._board.page_size(request.url.path, size, MAX_PAGE_SIZE)

    async def opening_list(self, request: Request) -> JSONResponse:
        """The public lists; ``applyStatus`` in the request is ignored, as the real one does."""
        body = await json_object(request)
        data_type = text(body, "dataType")
        total, rows = self._store.public_list(data_type, *self._page(request, body))
        public = data_type in ("1", "3")
        column = SECOND_ID.get(data_type)
        items: list[Row] = [
            {
                "applyId": row["apply_id"],
                "projectInfoId": None,
                "certificationId": None,
                "ccerId": None,
                **({_SECOND_ID_KEYS[data_type]: row[column]} if column else {}),
                "projectName": row["name"],
                "orgCustomerName": row["organisation"],
                "projectType": row["project_type"],
                "projectTypeName": row["project_type_name"],
                "applyStatus": "03" if public else None,
                "statusName": _STATUS_NAMES[data_type],
                "dataType": data_type,
            }
            for row in rows
        ]
        return _envelope(self._board.listed(request.url.path, items), total=total)

    async def opening_detail(self, request: Request) -> JSONResponse:
        """The public fields of one application."""
        body = await json_object(request)
        data_type = text(body, "dataType")
        key = _SECOND_ID_KEYS.get(data_type)
        second_id = optional_text(body, key) if key else None
        row = self._store.public_detail(data_type, text(body, "applyId"), second_id)
        if row is None:
            raise Refused("PUBLICATION_MISSING", "公示编号为空")
        return _envelope(
            {
                "methodologyNum": row["methodology"],
                "methodologyName": row["methodology_name"],
                "provinceName": row["province"],
                "expectYearNum": row["expected_per_year"],
                "certifiedNum": row["certified"],
                "publicStartDate": row["public_start"],
                "publicEndDate": None,
            }
        )

    async def add_projects(self, request: Request) -> JSONResponse:
        """Register projects in bulk."""
        new = [_new_project(row) for row in objects(await json_object(request), "projects")]
        return _envelope([_project_json(row) for row in self._store.add_projects(new)])

    async def add_reductions(self, request: Request) -> JSONResponse:
        """Record certified reductions in bulk."""
        new = [_new_reduction(row) for row in objects(await json_object(request), "reductions")]
        return _envelope([_reduction_json(row) for row in self._store.add_reductions(new)])

    async def register(self, request: Request) -> JSONResponse:
        """Move applications from publicity to registered."""
        applications = objects(await json_object(request), "applications")
        self._store.register([text(row, "applyId", _ID) for row in applications])
        return _envelope(None)

    async def project(self, request: Request) -> JSONResponse:
        """One project with what only participants see."""
        wanted = text(await json_object(request), "projectInfoId")
        row = self._store.project(wanted)
        return _envelope(row and _project_json(row), echo={"projectInfoId": wanted})

    async def reduction(self, request: Request) -> JSONResponse:
        """The reduction of exactly these dates."""
        body = await json_object(request)
        wanted = {
            "projectInfoId": text(body, "projectInfoId"),
            "startDate": _date(body, "startDate"),
            "endDate": _date(body, "endDate"),
        }
        row = self._store.reduction(*wanted.values())
        return _envelope(row and _reduction_json(row), echo=wanted)

    async def issue(self, request: Request) -> JSONResponse:
        """Issue; a refusal names the reference it is about."""
        body = await json_object(request)
        echo = {"externalReference": body.get("externalReference")}
        try:
            row = self._store.issue(_issue_order(body))
        except Refused as refused:
            refusal = {"successful": False, "code": refused.code, "msg": refused.message}
            return JSONResponse({**refusal, **echo, "dataInfo": None})
        return _envelope(_issuance_json(row), echo=echo)

    async def find(self, request: Request) -> JSONResponse:
        """All issuances with an external reference."""
        wanted = text(await json_object(request), "externalReference")
        rows: list[Row] = [_issuance_json(row) for row in self._store.issuances_by_reference(wanted)]
        listed = self._board.listed(request.url.path, rows)
        return _envelope(listed, total=len(rows), echo={"externalReference": wanted})

    async def issuances(self, request: Request) -> JSONResponse:
        """All issuances, oldest first."""
        total, rows = self._store.issuances(*self._page(request, await json_object(request)))
        return _envelope(self._board.listed(request.url.path, [_issuance_json(row) for row in rows]), total=total)


def create_app(stand_in: StandIn) -> Starlette:
    """The stand-in on one SQLite file, which is made when it is not there."""
    store, board = CcerStore(stand_in.database), FaultBoard()
    api = _Api(store, board)
    handlers = {
        "/api/projectmanage/open/getOpeningApply": api.opening_list,
        "/api/projectmanage/open/getOpeningApplyDetail": api.opening_detail,
        "/api/assumed/projects": api.add_projects,
        "/api/assumed/reductions": api.add_reductions,
        "/api/assumed/registrations": api.register,
        "/api/assumed/project": api.project,
        "/api/assumed/reduction": api.reduction,
        "/api/assumed/issue": api.issue,
        "/api/assumed/find": api.find,
        "/api/assumed/issuances": api.issuances,
    }
    routes = [Route(path, handler, methods=["POST"]) for path, handler in handlers.items()]
    return build(store=store, board=board, routes=routes, refusal=_refusal)
