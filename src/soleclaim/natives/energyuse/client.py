"""Client of the energy-use exchanges, which exchange CSV files every night."""

from collections.abc import AsyncIterator, Callable, Mapping
from decimal import Decimal
from typing import Final

from soleclaim.natives.cells import CellFault, Cells, day, exact, identifier, optional_day, optional_text, text
from soleclaim.natives.civil import CHINA, open_period_of_days
from soleclaim.natives.files import (
    ENCODING,
    CsvCodec,
    Delivery,
    FileNative,
    Form,
    Sheet,
    Table,
    Words,
    by_rule,
    period_of,
    project_codes,
    whole_base_units,
)
from soleclaim.natives.registries import Pattern, RegistryRow, registry_row
from soleclaim.natives.settings import NativeSettings
from soleclaim.registry.native import (
    MeasuredOutcome,
    NativeCoverage,
    NativeProject,
    NativeUnavailable,
    PlantDescription,
)

PROJECT: Final = "项目编号"
PROJECT_NAME: Final = "项目名称"
PROJECT_TYPE: Final = "项目类型"
PROJECT_CODE: Final = "投资项目代码"
FIRST_DAY: Final = "开始日期"
LAST_DAY: Final = "结束日期"
SAVING: Final = "节能量"
UNIT: Final = "计量单位"
ENTRY: Final = "记录编号"
CORRECTS: Final = "更正记录编号"
ENTITY: Final = "单位编号"
OWNER: Final = "单位名称"
SECTOR: Final = "行业"
BOUNDARY: Final = "纳入边界"
FROM: Final = "纳入日期"
TO: Final = "退出日期"
WITHDRAWN: Final = "是否撤销"

WORDS: Final = Words(
    orders="orders",
    issuances="issuances",
    refusals="refusals",
    reference="申请编号",
    token="锁令牌",  # noqa: S106  a heading
    project=PROJECT,
    first_day=FIRST_DAY,
    last_day=LAST_DAY,
    units="指标数量（吨标准煤）",
    issuance="签发编号",
    series="指标批次",
    first_serial="起始序号",
    last_serial="终止序号",
    code="代码",
    reason="原因",
)

ACTIVITY_TYPES: Final[Mapping[str, str]] = {
    "余热利用": "waste_heat_recovery",
    "节能改造": "energy_efficiency",
    "锅炉改造": "boiler_retrofit",
    "电机系统": "motor_systems",
    "产能退出": "closure",
}
"""By project type, in the exchanges' own words; R14: products of the markets are closures and retrofit savings."""


class EnergyUseRow(RegistryRow):
    """See ``registries.toml``."""

    name: str
    region: str
    project_pattern: Pattern
    entity_pattern: Pattern
    width: int = 0
    kgce_per_unit: dict[str, Decimal]


class EnergyUseNative(FileNative):
    """``NativeRegistry`` and ``CoverageSource``. ``native_project_id`` is the number of a project; in the list of
    entities it is the number of the entity.
    """

    def __init__(self, settings: NativeSettings) -> None:
        super().__init__(settings, _form(registry_row(__package__, settings.registry, EnergyUseRow)))

    def list_coverage(self) -> AsyncIterator[NativeCoverage]:
        """All statements of the newest delivery, which must be whole, in the order made."""
        return self._in_order()

    async def _in_order(self) -> AsyncIterator[NativeCoverage]:
        known: set[str] = set()
        early: list[str] = []
        async for statement in self._listed(_covered, lambda each: each.statement_id, "statement"):
            if statement.corrects is not None and statement.corrects not in known:
                early.append(f"{statement.statement_id} corrects {statement.corrects}, which is not listed before it")
                continue
            known.add(statement.statement_id)
            yield statement
        if early:
            raise NativeUnavailable(f"{len(early)} statement(s) cannot be placed, first: {early[0]}")


def _form(row: EnergyUseRow) -> Form:
    project_id = identifier(row.project_pattern, width=row.width)
    entity_id = identifier(row.entity_pattern, width=row.width)
    return Form(
        codec=CsvCodec(ENCODING),
        words=WORDS,
        project_id=project_id,
        projects=Table(
            "projects",
            (PROJECT, PROJECT_NAME, OWNER, PROJECT_TYPE, PROJECT_CODE),
            lambda cells: _project(cells, project_id, row.region),
        ),
        outcomes=Table(
            "savings",
            (PROJECT, FIRST_DAY, LAST_DAY, SAVING, UNIT),
            lambda cells: _saving(cells, project_id, row.kgce_per_unit),
        ),
        coverage=Table(
            "entities",
            (ENTRY, CORRECTS, ENTITY, OWNER, PROJECT_CODE, SECTOR, BOUNDARY, FROM, TO, WITHDRAWN),
            lambda cells: _statement(cells, entity_id, row.region),
        ),
    )


def _covered(delivery: Delivery) -> Sheet[NativeCoverage]:
    if delivery.coverage is None:
        raise NativeUnavailable("this registry tells nobody who is inside its market")
    return delivery.coverage


def _project(cells: Cells, project_id: Callable[[object], str], region: str) -> NativeProject:
    number, name = cells.read(PROJECT, project_id), cells.read(PROJECT_NAME, text)
    return _plant(cells, number, name, ACTIVITY_TYPES.get(cells.read(PROJECT_TYPE, text), "other"), region)


def _plant(cells: Cells, number: str, name: str, activity_type: str, region: str) -> NativeProject:
    return NativeProject(
        native_project_id=number,
        name=name,
        country="CN",
        activity_type=activity_type,
        time_zone=str(CHINA),
        identifiers=project_codes(cells, PROJECT_CODE),
        description=PlantDescription(owner=cells.read(OWNER, text), region=region),
    )


def _saving(cells: Cells, project_id: Callable[[object], str], kgce_per_unit: Mapping[str, Decimal]) -> MeasuredOutcome:
    unit = cells.read(UNIT, text)
    if unit not in kgce_per_unit:
        raise CellFault(f"{unit!r:.40} is none of {', '.join(kgce_per_unit)}, which this exchange deals in", UNIT)
    amount = cells.read(SAVING, exact)
    return MeasuredOutcome(
        native_project_id=cells.read(PROJECT, project_id),
        period=period_of(cells, FIRST_DAY, LAST_DAY),
        base_unit="kgce",
        quantity=by_rule(SAVING, lambda: whole_base_units(amount, kgce_per_unit[unit], "kgce")),
        carried_in=0,
    )


def _statement(cells: Cells, entity_id: Callable[[object], str], region: str) -> NativeCoverage:
    first, last = cells.read(FROM, day), cells.read(TO, optional_day)
    start, end = by_rule(TO, lambda: open_period_of_days(first, last, CHINA))
    withdrawn = cells.read(WITHDRAWN, text)
    if withdrawn not in ("是", "否"):
        raise CellFault(f"{withdrawn!r:.40} is neither 是 nor 否", WITHDRAWN)
    return NativeCoverage(
        statement_id=cells.read(ENTRY, text),
        corrects=cells.read(CORRECTS, optional_text),
        project=_plant(cells, cells.read(ENTITY, entity_id), cells.read(OWNER, text), "other", region),
        boundary=cells.read(BOUNDARY, text),
        sector=cells.read(SECTOR, text),
        start=start,
        end=end,
        withdrawn=withdrawn == "是",
    )
