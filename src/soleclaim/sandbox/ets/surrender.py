"""Settling a compliance year: allowances, and credits up to a limit, against what was emitted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from soleclaim.sandbox.fields import BadRequest, Refused, Row, integer, objects, text
from soleclaim.sandbox.ledger import Ledger, NewResult
from soleclaim.sandbox.registries import Pattern, RegistryRow, Series

KIND: Final = "surrender"


class EtsRow(RegistryRow):
    """See ``registries.toml``."""

    unit_pattern: Pattern
    series: Series
    offset_max: Decimal
    offset_basis: Literal["emissions", "allocation", "emissions_before"]
    offset_credits: frozenset[str]


@dataclass(frozen=True, slots=True)
class OffsetRule:
    """How many tonnes may be surrendered as credits: ``most`` of ``basis``, of these ``credits`` alone."""

    most: Decimal
    basis: str
    credits: frozenset[str]

    @classmethod
    def of(cls, row: EtsRow) -> "OffsetRule":
        """From the table of a registry."""
        return cls(row.offset_max, row.offset_basis, row.offset_credits)

    def limit(self, year: NewResult) -> int:
        """Whole tonnes for a unit's year."""
        basis = year.amount if self.basis == "allocation" else year.fields.get(self.basis)
        if not isinstance(basis, int):
            raise Refused("NOT_VERIFIED", f"{self.basis} of {year.project} is not told yet; credits are limited by it")
        return int(self.most * basis)


@dataclass(frozen=True, slots=True)
class Credits:
    """A range of credits given for a year; ends inclusive."""

    kind: str
    series: str
    first: int
    last: int

    @property
    def count(self) -> int:
        """Credits in the range."""
        return self.last - self.first + 1

    def shares_one_with(self, other: "Credits") -> bool:
        """Whether one credit is in both."""
        same = (self.kind, self.series) == (other.kind, other.series)
        return same and self.first <= other.last and other.first <= self.last


def _credits(row: Row) -> Credits:
    found = Credits(
        text(row, "creditType", "[A-Z0-9-]{1,32}"), text(row, "series"), integer(row, "from"), integer(row, "to")
    )
    if found.count < 1:
        raise BadRequest(f"credits {found.first} to {found.last} are none")
    return found


def credits_of(body: Row) -> list[Credits]:
    """``offsets`` of a surrender; may be left out."""
    return [_credits(row) for row in objects(body, "offsets")] if body.get("offsets") else []


def surrender(ledger: Ledger, rule: OffsetRule, year: NewResult, order: Row, credits_given: Sequence[Credits]) -> Row:
    """Settle a part of the year, or refuse it. ``order``: what the movement says; the same again changes nothing."""
    known = [fields for _, fields in ledger.movements(KIND)]
    for each in known:
        if each["surrenderNo"] == order["surrenderNo"]:
            if each != order:
                raise Refused("SURRENDER_EXISTS", f"{order['surrenderNo']} says something else already")
            return each
    emitted = year.fields.get("emissions")
    if not isinstance(emitted, int):
        raise Refused("NOT_VERIFIED", f"what {year.project} emitted is not verified yet")
    before = [each for each in known if (each["unitId"], each["complianceYear"]) == _spot(order)]
    allowances = _sum(before, "allowances") + _whole(order, "allowances")
    given = _sum(before, "credits") + _whole(order, "credits")
    issued = sum(
        each.units for each in ledger.issuances() if (each.project, each.first_day) == (year.project, year.first_day)
    )
    if allowances > issued:
        raise Refused("EXCEEDS_HOLDING", f"{issued} allowances issued, {allowances} to be surrendered in all")
    if allowances + given > emitted:
        raise Refused("EXCEEDS_DUTY", f"{emitted} t to be settled, {allowances + given} t given in all")
    if given > rule.limit(year):
        raise Refused("EXCEEDS_OFFSET_LIMIT", f"{rule.limit(year)} t of credits at most, {given} t given in all")
    _check_credits(rule, known, credits_given)
    ledger.add_movement(KIND, order)
    return order


def _check_credits(rule: OffsetRule, known: Sequence[Row], credits_given: Sequence[Credits]) -> None:
    used = [each for fields in known for each in credits_of(fields)]
    for each in credits_given:
        if each.kind not in rule.credits:
            raise Refused("CREDIT_NOT_TAKEN", f"{each.kind} is not taken; taken are {', '.join(sorted(rule.credits))}")
        if any(each.shares_one_with(other) for other in used):
            raise Refused("CREDIT_USED", f"{each.series} {each.first} to {each.last} is surrendered already, in part")
        used.append(each)


def _spot(order: Row) -> tuple[object, object]:
    return order["unitId"], order["complianceYear"]


def _sum(orders: Sequence[Row], key: str) -> int:
    return sum(_whole(each, key) for each in orders)


def _whole(order: Mapping[str, object], key: str) -> int:
    return int(str(order[key]))
