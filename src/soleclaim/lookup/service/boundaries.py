"""What lies inside a cap or an energy-use market may not be issued again (R88, R91; matrix C4, C5)."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from soleclaim.core.activity_id import ActivityKey
from soleclaim.core.instants import to_instant
from soleclaim.lookup.domain import Covering, LockRequest
from soleclaim.lookup.ports import Reader, Standing
from soleclaim.policy.bundle import Bundle

_TOLD: Final = 128
"""Characters of a boundary in a refusal: a batch of them fits into one message."""


class Inside(NamedTuple):
    """Why a request is refused: the rule, and the first statement that makes it apply."""

    rule: str
    covering: Covering

    @property
    def period(self) -> str:
        """As people and programs read it; without an end where none is known."""
        end = self.covering.end
        return f"{self.covering.start:%Y-%m-%dT%H:%M:%SZ}/{f'{end:%Y-%m-%dT%H:%M:%SZ}' if end else '..'}"

    @property
    def boundary(self) -> str:
        """Its beginning, where it is long."""
        text = self.covering.boundary
        return text if len(text) <= _TOLD else f"{text[: _TOLD - 1]}…"


async def inside(
    reader: Reader, bundle: Bundle, requests: Sequence[LockRequest], standing: Mapping[ActivityKey, Standing]
) -> dict[int, list[Inside]]:
    """By place in ``requests``: what refuses those that lie inside a boundary of another registry.

    A registry issues on its own units whoever else covers them: between both the locks decide (C15, C16).
    """
    covered = [i for i, each in enumerate(requests) if _may_be_covered(standing.get(each.activity_key))]
    if not covered:
        return {}
    today = to_instant(await reader.now_us()).date()
    looked = [i for i in covered if bundle.boundaries_against(requests[i].instrument, today)]
    wholes = await with_wholes(reader, {requests[i].activity_key for i in looked})
    spots = [(wholes[requests[i].activity_key], requests[i].period) for i in looked]
    refused = {}
    for i, coverings in zip(looked, await reader.covering(spots), strict=True):
        if all(each.registry != requests[i].registry for each in coverings):
            refused[i] = _refusing(bundle, requests[i].instrument, today, coverings)
    return refused


def _may_be_covered(standing: Standing | None) -> bool:
    return standing is not None and standing.may_be_covered


def _refusing(bundle: Bundle, instrument: str, today: date, coverings: Sequence[Covering]) -> list[Inside]:
    """The first statement under each rule."""
    found: dict[str, Inside] = {}
    for rule in bundle.boundaries_against(instrument, today):
        for each in coverings:
            if bundle.boundary_of.get(each.registry) == rule:
                found.setdefault(rule, Inside(rule, each))
    return list(found.values())


async def with_wholes(reader: Reader, keys: Collection[ActivityKey]) -> dict[ActivityKey, set[ActivityKey]]:
    """Each activity with all that it is part of, over all levels."""
    parents: dict[ActivityKey, set[ActivityKey]] = {}
    level = set(keys)
    while level:
        parents |= {part: set() for part in level}
        for part, whole in await reader.parts_of_wholes(level):
            parents[part].add(whole)
        level = {whole for part in level for whole in parents[part]} - parents.keys()
    return {key: _upwards(key, parents) for key in keys}


def _upwards(key: ActivityKey, parents: Mapping[ActivityKey, set[ActivityKey]]) -> set[ActivityKey]:
    found, level = {key}, {key}
    while level:
        level = {whole for part in level for whole in parents[part]} - found
        found |= level
    return found
