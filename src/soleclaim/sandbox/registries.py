"""What is particular to each registry of a family: ``registries.toml`` in the family's package, a table per code."""

import re
import tomllib
from importlib import resources
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from soleclaim.sandbox.stand_in import StandInFault


class RegistryRow(BaseModel):
    """One registry of a family; a key that the stand-in does not know is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def pattern(*groups: str) -> AfterValidator:
    """Insist on a regular expression that has these groups."""

    def check(told: str) -> str:
        try:
            missing = set(groups) - re.compile(told).groupindex.keys()
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        if missing:
            raise ValueError(f"must have the group {' and '.join(sorted(missing))}, as in (?P<{min(missing)}>[0-9]+)")
        return told

    return AfterValidator(check)


def template(**filled_in: object) -> AfterValidator:
    """Insist on a text in which only these are filled in; the values are examples of them."""

    def check(told: str) -> str:
        try:
            told.format(**filled_in)
        except (LookupError, ValueError) as error:
            known = ", ".join(f"{{{name}}}" for name in filled_in)
            raise ValueError(f"may hold {known} and nothing else in braces") from error
        return told

    return AfterValidator(check)


Pattern = Annotated[str, pattern()]
YEAR = 2025
"""An example, for ``template``."""

Series = Annotated[str, template(project="", year=YEAR)]
"""How a series of units is named: see ``ledger.Ledger``."""

AnyRow = TypeVar("AnyRow", bound=RegistryRow)


def registry_row(package: str, code: str, row: type[AnyRow]) -> AnyRow:
    """The table of ``code``; ``StandInFault`` when there is none, naming those that there are."""
    file = f"{package.replace('.', '/')}/registries.toml"
    try:
        rows = tomllib.loads(resources.files(package).joinpath("registries.toml").read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise StandInFault(f"{file} is no TOML: {error}") from error
    if code not in rows:
        known = ", ".join(sorted(rows))
        raise StandInFault(f"registry must be one of {known}, not {code!r}; a new one needs a table [{code}] in {file}")
    try:
        return row.model_validate(rows[code])
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}" for each in error.errors()
        ]
        raise StandInFault(f"{file}, [{code}]: {'; '.join(faults)}") from error
