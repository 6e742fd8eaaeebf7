"""Client of the local credit registries that exchange one workbook a month."""

from typing import Final

from soleclaim.natives.cells import CellFault, Cells, exact, identifier, text
from soleclaim.natives.civil import CHINA
from soleclaim.natives.files import (
    FileNative,
    Form,
    Table,
    Words,
    WorkbookCodec,
    by_rule,
    period_of,
    project_codes,
    whole_base_units,
)
from soleclaim.natives.local.area import LocalRow
from soleclaim.natives.settings import NativeSettings
from soleclaim.registry.native import (
    KG_PER_TONNE,
    MeasuredOutcome,
    NativeOrder,
    NativeProject,
    NativeRefusal,
    PlantDescription,
)

FILING: Final = "备案编号"
NAME: Final = "项目名称"
APPLICANT: Final = "申请单位"
CATEGORY: Final = "项目类别"
DIVISION: Final = "行政区划代码"
PROVINCE: Final = "省级行政区"
PROJECT_CODE: Final = "投资项目代码"
FIRST_DAY: Final = "监测期起始日"
LAST_DAY: Final = "监测期截止日"
VERIFIED: Final = "核证减排量（吨二氧化碳当量）"

WORDS: Final = Words(
    orders="签发申请",
    issuances="已签发减排量",
    refusals="退回申请",
    reference="申请编号",
    token="锁令牌",  # noqa: S106  a heading
    project=FILING,
    first_day=FIRST_DAY,
    last_day=LAST_DAY,
    units="签发数量（吨）",
    issuance="签发编号",
    series="减排量批次",
    first_serial="起始编号",
    last_serial="截止编号",
    code="退回代码",
    reason="退回原因",
)

_DIVISION: Final = identifier("[0-9]{6}")


class LocalWorkbookNative(FileNative):
    """``NativeRegistry`` over a folder. ``native_project_id`` is the filing number."""

    def __init__(self, settings: NativeSettings, row: LocalRow) -> None:
        super().__init__(settings, _form(row))
        self._row = row

    def _unfit(self, order: NativeOrder) -> NativeRefusal | None:
        return self._row.refusal_of(order) or super()._unfit(order)


def _form(row: LocalRow) -> Form:
    filing_number = identifier(row.filing_pattern)

    def project(cells: Cells) -> NativeProject:
        division = cells.read(DIVISION, _DIVISION)
        if not row.is_inside(division):
            raise CellFault(f"{division} lies outside {row.area}; have the authority correct the record", DIVISION)
        return NativeProject(
            native_project_id=cells.read(FILING, filing_number),
            name=cells.read(NAME, text),
            country="CN",
            activity_type=row.activity_type(cells.read(CATEGORY, text)),
            time_zone=str(CHINA),
            identifiers=project_codes(cells, PROJECT_CODE),
            description=PlantDescription(owner=cells.read(APPLICANT, text), region=cells.read(PROVINCE, text)),
        )

    def reduction(cells: Cells) -> MeasuredOutcome:
        tonnes = cells.read(VERIFIED, exact)
        return MeasuredOutcome(
            native_project_id=cells.read(FILING, filing_number),
            period=period_of(cells, FIRST_DAY, LAST_DAY),
            base_unit="kgCO2e",
            quantity=by_rule(VERIFIED, lambda: whole_base_units(tonnes, KG_PER_TONNE, "kgCO2e")),
            carried_in=0,
        )

    return Form(
        codec=WorkbookCodec(),
        words=WORDS,
        project_id=filing_number,
        projects=Table("备案项目", (FILING, NAME, APPLICANT, CATEGORY, DIVISION, PROVINCE, PROJECT_CODE), project),
        outcomes=Table("核证减排量", (FILING, FIRST_DAY, LAST_DAY, VERIFIED), reduction),
    )
