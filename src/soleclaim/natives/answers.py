"""What may be concluded from what a native registry answered, in whatever form it came: the same in every family."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from soleclaim.core.serials import first_overlap, total
from soleclaim.registry.native import (
    NativeIssuance,
    NativeOrder,
    NativeRefusal,
    NativeResult,
    NativeUnavailable,
    NativeUnknown,
)

Found = TypeVar("Found")


class Unclear(Exception):
    """What came back, or did not, allows no conclusion. The message says what was wrong, for people."""


async def told(answer: Awaitable[Found], about: str) -> Found:
    """The answer to a read; what was ``Unclear`` about it is ``NativeUnavailable``."""
    try:
        return await answer
    except Unclear as unclear:
        raise NativeUnavailable(f"{about}: {unclear}") from unclear


async def placed(
    orders: Sequence[NativeOrder],
    place: Callable[[NativeOrder], Awaitable[NativeIssuance | NativeRefusal]],
    *,
    registry: str,
) -> list[NativeResult]:
    """What became of the one order that goes in a call; what is ``Unclear`` about it is ``NativeUnknown``."""
    if len(orders) > 1:
        raise ValueError(f"{len(orders)} orders; {registry} takes 1 in a call")
    return [await _placed(order, place) for order in orders]


async def _placed(
    order: NativeOrder, place: Callable[[NativeOrder], Awaitable[NativeIssuance | NativeRefusal]]
) -> NativeResult:
    try:
        result = await place(order)
        if isinstance(result, NativeIssuance):
            check_answers(order, result)
    except Unclear as unclear:
        return NativeUnknown(f"{order.external_reference}: {unclear}")
    return result


def refusal(code: str, message: str, lasting: Mapping[str, bool]) -> NativeRefusal:
    """A refusal that is understood; ``Unclear`` for a code that does not say for certain that nothing was done.

    ``lasting``: the codes that do say so, and whether the same order will never be accepted.
    """
    if code not in lasting:
        raise Unclear(f"refused, but not for certain undone: {code}: {message}")
    return NativeRefusal(code, message, lasting[code])


def not_civil(order: NativeOrder, civil: str) -> NativeRefusal:
    """The refusal, unsent, of an order whose period the registry has no words for. ``civil``: what it has words for."""
    return NativeRefusal("PERIOD_NOT_CIVIL", f"{order.period} is not {civil} in UTC+8; not sent", lasting=True)


def readable(read: Callable[[], Found]) -> Found:
    """What ``read`` makes of an answer; values that make no period or serial range are ``Unclear``."""
    try:
        return read()
    except (ValueError, OverflowError) as error:
        raise Unclear(f"it cannot be read: {error}") from error


def check_serials(issuance: NativeIssuance) -> None:
    """Blocks that do not add up to the units, or share a serial, make the record ``Unclear``."""
    if not issuance.units or total(issuance.blocks) != issuance.units:
        raise Unclear(f"{issuance.units} units, but serials for {total(issuance.blocks)}")
    if first_overlap(issuance.blocks) is not None:
        raise Unclear("two serial blocks overlap")


def check_answers(order: NativeOrder, issuance: NativeIssuance) -> None:
    """An issuance that is not the one ordered, in any field, is ``Unclear``."""
    for name in ("external_reference", "fencing_token", "native_project_id", "period", "units"):
        ordered, answered = getattr(order, name), getattr(issuance, name)
        if ordered != answered:
            raise Unclear(f"{name} is {answered} in the answer, {ordered} in the order")
