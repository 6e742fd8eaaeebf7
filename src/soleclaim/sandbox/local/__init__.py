"""A stand-in for a registry of local credits, in the form in which it is spoken to."""

from collections.abc import Callable, Mapping
from typing import Final

from starlette.applications import Starlette

from soleclaim.sandbox.local import json_app, workbook
from soleclaim.sandbox.local.filings import LocalRow
from soleclaim.sandbox.registries import registry_row
from soleclaim.sandbox.stand_in import StandIn

__all__ = ["create_app"]

FORMS: Final[Mapping[str, Callable[[StandIn, LocalRow], Starlette]]] = {
    "json": json_app.create_app,
    "workbook": workbook.create_app,
}


def create_app(stand_in: StandIn) -> Starlette:
    """The stand-in that ``registries.toml`` chooses; ``StandInFault`` when there is no such registry."""
    row = registry_row(__package__, stand_in.registry, LocalRow)
    return FORMS[row.form](stand_in, row)
