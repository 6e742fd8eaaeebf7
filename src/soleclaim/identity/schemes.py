"""Strong identifier schemes: what each guarantees unique, and how its values look (rules.md B7)."""

import re
from dataclasses import dataclass
from typing import Final

MAX_VALUE_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class Scheme:
    """``single``: an activity has at most one value, so two different ones contradict each other."""

    pattern: re.Pattern[str]
    example: str
    single: bool
    basis: str


def _scheme(pattern: str, example: str, *, single: bool, basis: str) -> Scheme:
    # ASCII: other scripts' digits would make a second spelling of one value, which then joins nothing.
    return Scheme(re.compile(pattern, re.ASCII), example, single, basis)


SCHEMES: Final[dict[str, Scheme]] = {
    "gec_filing_code": _scheme(r"[0-9A-Z]{17}", "FDWD2407150000123", single=True, basis="B2; check digit unknown"),
    "cn_project_code": _scheme(
        r"\d{4}-\d{6}-\d{2}-\d{2}-\d{6}", "2509-320193-89-01-544060", single=True, basis="B7 项目代码"
    ),
    "metering_point": _scheme(r"[0-9A-Z]{8,33}", "3101234567890", single=True, basis="B7 meter/户号"),
    "cdm": _scheme(r"[1-9]\d{0,5}", "7014", single=False, basis="B7; GS560/775: one plant, several registrations"),
    "vcs": _scheme(r"[1-9]\d{0,6}", "1340", single=False, basis="B7"),
    "gs": _scheme(r"[1-9]\d{0,6}", "7495", single=False, basis="B7; the public number, not the internal one"),
    "arb_project": _scheme(r"[A-Z]{4}\d{4}[A-Z0-9]{0,4}", "CALS5041", single=False, basis="CARB project id"),
    "acr": _scheme(r"[1-9]\d{0,6}", "1185", single=False, basis="native-formats section 2"),
    "car": _scheme(r"[1-9]\d{0,6}", "1036", single=False, basis="native-formats section 2"),
}


def fault_of(scheme: str, value: str) -> str | None:
    """Why the pair is not a strong identifier, with the remedy; ``None`` when it is one."""
    row = SCHEMES.get(scheme)
    if row is None:
        return f"scheme {scheme[:32]!r} is not known; use one of {', '.join(sorted(SCHEMES))}"
    if len(value) > MAX_VALUE_LENGTH or not row.pattern.fullmatch(value):
        return f"not a value of scheme {scheme}; it looks like {row.example}"
    return None
