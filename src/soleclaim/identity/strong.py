"""The decision by strong identifiers: join, create, or open a review case (design section 5).

A shared strong identifier joins. Identifiers that lead to different activities, or that give one activity two
values of a single-valued scheme, contradict each other: nothing is guessed, a person decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from soleclaim.core.activity_id import ActivityKey
from soleclaim.identity.schemes import SCHEMES

Identifier = tuple[str, str]
"""(scheme, value)."""


@dataclass(frozen=True, slots=True)
class Join:
    """The project belongs to an activity that exists; ``new`` identifiers are to be added to it."""

    key: ActivityKey
    new: tuple[Identifier, ...]


@dataclass(frozen=True, slots=True)
class Create:
    """No identifier is known; the project is a new activity."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A person has to decide. ``candidates``: the activities concerned; ``detail``: what contradicts what."""

    candidates: tuple[ActivityKey, ...]
    detail: str


def decide(
    identifiers: Sequence[Identifier],
    owners: Mapping[Identifier, ActivityKey],
    known: Mapping[ActivityKey, frozenset[Identifier]],
    registered: ActivityKey | None,
    settled: frozenset[tuple[Identifier, ActivityKey]] = frozenset(),
) -> Join | Create | Contradiction:
    """Decide for one project.

    ``owners``: which activity holds an identifier; ``known``: all identifiers of those activities;
    ``registered``: the activity this very project was registered on before, if any; ``settled``: identifiers that a
    person has seen to be of another activity, each with that activity: they lead there no more.
    """
    if registered is not None:
        identifiers = [
            each
            for each in identifiers
            if (owner := owners.get(each, registered)) == registered or (each, owner) not in settled
        ]
    candidates = {owners[each] for each in identifiers if each in owners}
    if registered is not None:
        candidates.add(registered)
    if not candidates:
        clash = _clash(frozenset(), identifiers)
        return Contradiction((), clash) if clash else Create()
    if len(candidates) > 1:
        detail = _clash(frozenset(), identifiers) or "the identifiers belong to different activities"
        return Contradiction(tuple(sorted(candidates)), detail)
    (key,) = candidates
    clash = _clash(known.get(key, frozenset()), identifiers)
    if clash:
        return Contradiction((key,), clash)
    return Join(key, tuple(each for each in dict.fromkeys(identifiers) if each not in owners))


def _clash(known: frozenset[Identifier], identifiers: Sequence[Identifier]) -> str | None:
    """The single-valued scheme to which these bring a second value, if any.

    Only what is new can clash: values known together were let stand together by a person.
    """
    values = {scheme for scheme, _ in known}
    for scheme, _ in set(identifiers) - known:
        if SCHEMES[scheme].single:
            if scheme in values:
                return f"two values of scheme {scheme} on one activity"
            values.add(scheme)
    return None
