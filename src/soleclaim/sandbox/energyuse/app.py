"""An energy-use exchange's stand-in: its tables, and the desk where they are filled. All of it is assumed."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from starlette.applications import Starlette

from soleclaim.sandbox import filedrop
from soleclaim.sandbox.fields import (
    PROJECT_CODE,
    USCC,
    BadRequest,
    Refused,
    Row,
    day,
    integer,
    objects,
    optional_text,
    statement_days,
    text,
)
from soleclaim.sandbox.filedrop import Form, TableOut
from soleclaim.sandbox.ledger import Ledger, NewResult
from soleclaim.sandbox.registries import Pattern, RegistryRow, Series, registry_row
from soleclaim.sandbox.stand_in import StandIn

TRADE: Final = "trade"
RETIREMENT: Final = "retirement"
_PROJECTS: Final = ("项目编号", "项目名称", "单位名称", "统一社会信用代码", "项目类型", "投资项目代码")
_SAVINGS: Final = ("项目编号", "开始日期", "结束日期", "节能量", "计量单位")
_ENTITIES: Final = (
    *("记录编号", "更正记录编号", "单位编号", "单位名称", "统一社会信用代码", "投资项目代码"),
    *("行业", "纳入边界", "纳入日期", "退出日期", "是否撤销"),
)
_MOVEMENTS: Final = ("类型", "指标批次", "起始序号", "终止序号", "转出方", "转入方", "日期")


class EnergyUseRow(RegistryRow):
    """See ``registries.toml``."""

    project_pattern: Pattern
    entity_pattern: Pattern
    series: Series
    tce_per_unit: dict[str, Decimal]


class _Desk:
    """Where the authority enters what it knows."""

    def __init__(self, row: EnergyUseRow) -> None:
        self._project_pattern = row.project_pattern
        self._entity_pattern = row.entity_pattern
        self._tce_per_unit = row.tce_per_unit

    def add_projects(self, ledger: Ledger, body: Row) -> int:
        """Projects in bulk."""
        projects = [
            {
                "projectNo": text(row, "projectNo", self._project_pattern),
                "name": text(row, "name"),
                "owner": text(row, "owner"),
                "uscc": text(row, "uscc", USCC),
                "kind": text(row, "kind"),
                "projectCode": optional_text(row, "projectCode", PROJECT_CODE),
            }
            for row in objects(body, "projects")
        ]
        ledger.add_projects([(str(project["projectNo"]), project) for project in projects])
        return len(projects)

    def add_savings(self, ledger: Ledger, body: Row) -> int:
        """Verified savings in bulk. Whole tonnes of coal equivalent may be issued on each."""
        new = [self._saving(row) for row in objects(body, "savings")]
        ledger.add_results(new)
        return len(new)

    def _saving(self, row: Row) -> NewResult:
        unit = text(row, "unit")
        if unit not in self._tce_per_unit:
            raise BadRequest(f"unit must be one of {', '.join(self._tce_per_unit)}, not {unit!r}")
        amount = text(row, "amount", r"[0-9]{1,12}(\.[0-9]{1,6})?")
        return NewResult(
            text(row, "projectNo", self._project_pattern),
            day(row, "from"),
            day(row, "to"),
            int(Decimal(amount) * self._tce_per_unit[unit]),
            {"amount": amount, "unit": unit},
        )

    def add_entities(self, ledger: Ledger, body: Row) -> int:
        """State who is inside the market, or correct what was stated."""
        rows = objects(body, "entities")
        for row in rows:
            fields = {
                "entityNo": text(row, "entityNo", self._entity_pattern),
                "name": text(row, "name"),
                "uscc": text(row, "uscc", USCC),
                "projectCode": optional_text(row, "projectCode", PROJECT_CODE),
                "sector": text(row, "sector"),
                "boundary": text(row, "boundary"),
                **statement_days(row),
            }
            ledger.add_membership(text(row, "entryNo"), fields, optional_text(row, "corrects"))
        return len(rows)

    def add_trades(self, ledger: Ledger, body: Row) -> int:
        """Indicators change hands; never after they were retired."""
        rows = objects(body, "trades")
        for row in rows:
            _move(ledger, TRADE, row, {"seller": text(row, "seller"), "buyer": text(row, "buyer")})
        return len(rows)

    def add_retirements(self, ledger: Ledger, body: Row) -> int:
        """Indicators are used up by an entity, once."""
        rows = objects(body, "retirements")
        for row in rows:
            entity = text(row, "entityNo", self._entity_pattern)
            _move(ledger, RETIREMENT, row, {"seller": entity, "buyer": "注销"})
        return len(rows)


def _move(ledger: Ledger, kind: str, row: Row, parties: Row) -> None:
    series, first, last = text(row, "series"), integer(row, "from", least=1), integer(row, "to", least=1)
    if last < first:
        raise BadRequest(f"indicators {first} to {last} are none")
    issued = sum(
        min(last, each.last_serial) - max(first, each.first_serial) + 1
        for each in ledger.issuances()
        if each.series == series and each.first_serial <= last and first <= each.last_serial
    )
    if issued != last - first + 1:
        raise Refused("NOT_ISSUED", f"{series} {first} to {last} is not issued, in part at least")
    for _, gone in ledger.movements(RETIREMENT):
        if gone["series"] == series and int(str(gone["from"])) <= last and first <= int(str(gone["to"])):
            raise Refused("RETIRED", f"{series} {first} to {last} is retired, in part at least")
    ledger.add_movement(kind, {"series": series, "from": first, "to": last, "day": day(row, "day"), **parties})


def _tables(ledger: Ledger) -> Sequence[TableOut]:
    projects = [
        tuple(fields[key] or "" for key in ("projectNo", "name", "owner", "uscc", "kind", "projectCode"))
        for _, fields in ledger.projects()
    ]
    savings = [
        (each.project, each.first_day, each.last_day, each.fields["amount"], each.fields["unit"])
        for each in ledger.results()
    ]
    keys = ("entityNo", "name", "uscc", "projectCode", "sector", "boundary", "from", "to")
    entities = [
        (code, corrects or "", *(fields[key] or "" for key in keys), "是" if fields["withdrawn"] else "否")
        for _, code, corrects, fields in ledger.memberships()
    ]
    movements = [
        (word, *(fields[key] for key in ("series", "from", "to", "seller", "buyer", "day")))
        for kind, word in ((TRADE, "交易"), (RETIREMENT, "注销"))
        for _, fields in ledger.movements(kind)
    ]
    return [
        TableOut("projects", "projects", _PROJECTS, projects),
        TableOut("savings", "savings", _SAVINGS, savings),
        TableOut("entities", "entities", _ENTITIES, entities),
        TableOut("movements", "movements", _MOVEMENTS, movements),
    ]


def create_app(stand_in: StandIn) -> Starlette:
    """The stand-in of one exchange on one SQLite file and one folder."""
    row = registry_row(__package__, stand_in.registry, EnergyUseRow)
    form = Form(
        workbook=False,
        project_pattern=row.project_pattern,
        order=("申请编号", "锁令牌", "项目编号", "开始日期", "结束日期", "指标数量（吨标准煤）"),
        issued=("签发编号", "指标批次", "起始序号", "终止序号"),
        refused=("代码", "原因"),
        orders="orders",
        issuances="issuances",
        refusals="refusals",
        tables=_tables,
    )
    desk = _Desk(row)
    paths: Mapping[str, filedrop.Desk] = {
        "/office/projects": desk.add_projects,
        "/office/savings": desk.add_savings,
        "/office/entities": desk.add_entities,
        "/office/trades": desk.add_trades,
        "/office/retirements": desk.add_retirements,
    }
    return filedrop.create_app(stand_in, row.series, form, paths)
