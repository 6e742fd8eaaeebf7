"""A local credit registry's stand-in that exchanges one workbook a month. All of it is assumed."""

from collections.abc import Sequence
from typing import Final

from starlette.applications import Starlette

from soleclaim.sandbox import filedrop
from soleclaim.sandbox.fields import Row, objects
from soleclaim.sandbox.filedrop import Form, TableOut
from soleclaim.sandbox.ledger import Ledger
from soleclaim.sandbox.local.filings import LocalRow, filing_of, reduction_of
from soleclaim.sandbox.stand_in import StandIn

_PROJECTS: Final = (*("备案编号", "项目名称", "申请单位", "项目类别", "行政区划代码", "省级行政区", "投资项目代码"),)
_KEYS: Final = ("filingNo", "projectName", "applicant", "category", "divisionCode", "province", "projectCode")
_REDUCTIONS: Final = ("备案编号", "监测期起始日", "监测期截止日", "核证减排量（吨二氧化碳当量）")


def _tables(ledger: Ledger) -> Sequence[TableOut]:
    projects = [tuple(fields[key] or "" for key in _KEYS) for _, fields in ledger.projects()]
    reductions = [
        (each.project, each.first_day, each.last_day, each.fields["verifiedTonnes"]) for each in ledger.results()
    ]
    return [
        TableOut("projects", "备案项目", _PROJECTS, projects),
        TableOut("reductions", "核证减排量", _REDUCTIONS, reductions),
    ]


def create_app(stand_in: StandIn, row: LocalRow) -> Starlette:
    """The stand-in of one registry, ``row`` of the table, on one SQLite file and one folder. A month is a night."""

    def add_filings(ledger: Ledger, body: Row) -> int:
        filings = [filing_of(each, row) for each in objects(body, "filings")]
        ledger.add_projects([(str(filing["filingNo"]), filing) for filing in filings])
        return len(filings)

    def add_reductions(ledger: Ledger, body: Row) -> int:
        new = [reduction_of(each) for each in objects(body, "reductions")]
        ledger.add_results(new)
        return len(new)

    form = Form(
        workbook=True,
        project_pattern=row.filing_pattern,
        order=("申请编号", "锁令牌", "备案编号", "监测期起始日", "监测期截止日", "签发数量（吨）"),
        issued=("签发编号", "减排量批次", "起始编号", "截止编号"),
        refused=("退回代码", "退回原因"),
        orders="签发申请",
        issuances="已签发减排量",
        refusals="退回申请",
        tables=_tables,
    )
    desk = {"/office/filings": add_filings, "/office/reductions": add_reductions}
    return filedrop.create_app(stand_in, row.series, form, desk)
