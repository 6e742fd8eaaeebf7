"""Examples of registries: a project of each, and how the desk of its stand-in is told of it. For the demo and the kit.

What is particular to a registry stands in ``registries.toml``; what is particular to a family is one function here.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import resources
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from soleclaim.policy.bundle import DEFAULT_BUNDLE, default_bundle

KWH_PER_MWH: Final = 1_000
EXPECTED_PER_YEAR: Final = 1_000_000
"""Tonnes that a CCER project is registered with; nothing follows from it here."""


class Days(NamedTuple):
    """A civil period in UTC+8; both days inclusive."""

    first: date
    last: date


class Result(NamedTuple):
    """What a project achieved: whole units may be issued for these days."""

    days: Days
    units: int


class Call(NamedTuple):
    """A POST to the desk of a stand-in."""

    path: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filing:
    """A project and its results, as they are filed. ``words``: see ``registries.toml``."""

    id: str
    name: str
    owner: str
    region: str
    project_code: str
    """The national project code, by which other registries know it too."""
    results: tuple[Result, ...]
    words: Mapping[str, Any]


class ExampleFault(ValueError):
    """The table of an example is missing or cannot be used; the message names the file, the key and the remedy."""


def _family(told: str) -> str:
    if told not in DESKS:
        raise ValueError(f"must be one of {', '.join(sorted(DESKS))}; a new family needs a Desk in parts/examples.py")
    return told


def _numbered(told: str) -> str:
    try:
        differ = told.format(n=1) != told.format(n=2)
    except (LookupError, ValueError) as error:
        raise ValueError("may hold {n} and nothing else in braces") from error
    if not differ:
        raise ValueError("must hold {n}, such as {n:05d}, so that projects are told apart")
    return told


class Example(BaseModel):
    """A row of ``registries.toml``; a key that is not here is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    registry: str
    family: Annotated[str, AfterValidator(_family)]
    exchange: Literal["json", "signed", "csv", "workbook", "tables"]
    project: Annotated[str, AfterValidator(_numbered)]
    name: str
    owner: str
    region: str
    words: Mapping[str, Any]
    settlement: Mapping[str, str] = {}

    @property
    def desk(self) -> "Desk":
        """How its family is told."""
        return DESKS[self.family]

    @property
    def signed(self) -> bool:
        """Whether it takes signed requests only."""
        return self.exchange == "signed"

    @property
    def by_files(self) -> bool:
        """Whether orders and answers are files, so that a night passes between them."""
        return self.exchange in ("csv", "workbook")

    def settled(self, filing: Filing, series: str, first: int, last: int) -> Call:
        """The line of a month's settlement by which these certificates moved; of a power exchange."""
        # A series is a certificate's code without its sequence.
        begins, _, ends = series.partition("-")
        codes = {key: f"{begins}{number:07d}{ends}" for key, number in (("startCode", first), ("endCode", last))}
        line = {
            "filingCode": filing.id, "month": f"{filing.results[0].days.first:%Y-%m}", "certificates": [codes],
            **self.settlement,
        }  # fmt: skip
        return Call("/office/settlements", {"lines": [line]})

    def filing(self, number: int, results: Sequence[Result], *, name: str = "", owner: str = "") -> Filing:
        """Its project of that number, from 1; under another name and owner where they are given."""
        return Filing(
            id=self.project.format(n=number),
            name=name or self.name,
            owner=owner or self.owner,
            region=self.region,
            project_code=f"2409-{_NUMBERS[self.registry]:06d}-89-01-{number:06d}",
            results=tuple(results),
            words=self.words,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A family. ``fill``: what its desk is told of projects. ``issue_path``: where it issues over HTTP, else "".

    ``measured`` and ``unmeasured``: periods in the family's own form.
    """

    fill: Callable[[Sequence[Filing]], list[Call]]
    issue_path: str = ""
    measured: tuple[Days, Days]
    unmeasured: Days
    issues: bool = True


_MARCH: Final = Days(date(2025, 3, 1), date(2025, 3, 31))
_APRIL: Final = Days(date(2025, 4, 1), date(2025, 4, 30))
_SEPTEMBER: Final = Days(date(2025, 9, 1), date(2025, 9, 30))


def _year(year: int) -> Days:
    return Days(date(year, 1, 1), date(year, 12, 31))


def _each(filings: Sequence[Filing], row: Callable[[Filing, Result], dict[str, Any]]) -> list[dict[str, Any]]:
    return [row(filing, result) for filing in filings for result in filing.results]


def _fill_ccer(filings: Sequence[Filing]) -> list[Call]:
    projects = [
        {
            "projectInfoId": each.id, "projectCode": each.project_code, "projectName": each.name,
            "orgCustomerName": each.owner, "provinceName": each.region,
            "expectYearNum": EXPECTED_PER_YEAR, **each.words,
        }
        for each in filings
    ]  # fmt: skip
    reductions = _each(
        filings,
        lambda filing, result: {
            "projectInfoId": filing.id, "startDate": f"{result.days.first:%Y%m%d}",
            "endDate": f"{result.days.last:%Y%m%d}", "certifiedNum": result.units,
        },
    )  # fmt: skip
    return [
        Call("/api/assumed/projects", {"projects": projects}),
        Call("/api/assumed/reductions", {"reductions": reductions}),
    ]


def _fill_gec(filings: Sequence[Filing]) -> list[Call]:
    rows = [
        {
            "filingCode": each.id, "projectName": each.name, "owner": each.owner, "province": each.region,
            "projectCode": each.project_code, **each.words,
        }
        for each in filings
    ]  # fmt: skip
    readings = _each(
        filings,
        lambda filing, result: {
            "filingCode": filing.id, "month": f"{result.days.first:%Y-%m}", "kwh": result.units * KWH_PER_MWH,
        },
    )  # fmt: skip
    return [Call("/api/v1/filings", {"filings": rows}), Call("/api/v1/readings", {"readings": readings})]


def _fill_ets(filings: Sequence[Filing]) -> list[Call]:
    units = [
        {
            "unitId": each.id, "unitName": each.owner, "province": each.region, "projectCode": each.project_code,
            **each.words,
        }
        for each in filings
    ]  # fmt: skip
    allocations = _each(
        filings,
        lambda filing, result: {
            "unitId": filing.id, "complianceYear": result.days.first.year, "approved": result.units,
        },
    )  # fmt: skip
    return [Call("/office/units", {"units": units}), Call("/office/allocations", {"allocations": allocations})]


def _fill_local(filings: Sequence[Filing]) -> list[Call]:
    rows = [
        {
            "filingNo": each.id, "projectName": each.name, "applicant": each.owner, "province": each.region,
            "projectCode": each.project_code, **each.words,
        }
        for each in filings
    ]  # fmt: skip
    reductions = _each(
        filings,
        lambda filing, result: {
            "filingNo": filing.id, "from": result.days.first.isoformat(), "to": result.days.last.isoformat(),
            "verifiedTonnes": f"{result.units}.000",
        },
    )  # fmt: skip
    return [Call("/office/filings", {"filings": rows}), Call("/office/reductions", {"reductions": reductions})]


def _fill_energyuse(filings: Sequence[Filing]) -> list[Call]:
    projects = [
        {
            "projectNo": each.id, "name": each.name, "owner": each.owner, "projectCode": each.project_code,
            **each.words,
        }
        for each in filings
    ]  # fmt: skip
    savings = _each(
        filings,
        lambda filing, result: {
            "projectNo": filing.id, "from": result.days.first.isoformat(), "to": result.days.last.isoformat(),
            "amount": str(result.units), "unit": "吨标准煤",
        },
    )  # fmt: skip
    return [Call("/office/projects", {"projects": projects}), Call("/office/savings", {"savings": savings})]


def _fill_greenpower(filings: Sequence[Filing]) -> list[Call]:
    stations = [
        {
            "filingCode": each.id, "stationName": each.name, "owner": each.owner, "province": each.region,
            "projectCode": each.project_code, **each.words,
        }
        for each in filings
    ]  # fmt: skip
    return [Call("/office/stations", {"stations": stations})]


DESKS: Final = {
    "ccer": Desk(fill=_fill_ccer, issue_path="/api/assumed/issue", measured=(_MARCH, _APRIL), unmeasured=_SEPTEMBER),
    "gec": Desk(fill=_fill_gec, issue_path="/api/v1/issuances", measured=(_MARCH, _APRIL), unmeasured=_SEPTEMBER),
    "ets": Desk(
        fill=_fill_ets,
        issue_path="/openapi/v1/allowance-issues",
        measured=(_year(2023), _year(2024)),
        unmeasured=_year(2022),
    ),
    "energyuse": Desk(fill=_fill_energyuse, measured=(_MARCH, _APRIL), unmeasured=_SEPTEMBER),
    "greenpower": Desk(fill=_fill_greenpower, issues=False, measured=(_MARCH, _APRIL), unmeasured=_SEPTEMBER),
    # Its tables are what they are.
    "archive": Desk(fill=lambda _: [], issues=False, measured=(_MARCH, _APRIL), unmeasured=_SEPTEMBER),
    "local": Desk(fill=_fill_local, issue_path="/api/credits", measured=(_MARCH, _APRIL), unmeasured=_SEPTEMBER),
}
"""By family."""


def _examples() -> dict[str, Example]:
    try:
        rows = tomllib.loads(resources.files(__package__).joinpath("registries.toml").read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ExampleFault(f"{_FILE} is no TOML: {error}") from error
    bundle = default_bundle()
    for code in rows:
        # What issues nothing has an instrument too: it is known by it.
        if code not in bundle.registries or not bundle.instruments_of(code):
            bundle_file = f"soleclaim/policy/bundles/{DEFAULT_BUNDLE}"
            raise ExampleFault(
                f"{_FILE}, [{code}]: the policy does not know it; add [registries.{code}] and the [instruments.…]"
                f" with registry = {code!r} to {bundle_file}"
            )
    return {code: _example(code, row) for code, row in rows.items()}


def _example(code: str, row: Mapping[str, Any]) -> Example:
    try:
        return Example.model_validate({"registry": code, **row})
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}" for each in error.errors()
        ]
        raise ExampleFault(f"{_FILE}, [{code}]: {'; '.join(faults)}") from error


_FILE: Final = "soleclaim/parts/registries.toml"
EXAMPLES: Final = _examples()
"""By the code of the registry."""
_NUMBERS: Final = {code: number for number, code in enumerate(EXAMPLES, start=1)}
"""Of registries, so that no two share a project code."""
