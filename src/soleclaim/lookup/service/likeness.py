"""What a project could be, of all that is known: the decision of ``identity.matching`` on the store."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from soleclaim.core.activity_id import ActivityKey
from soleclaim.identity.blocking import Found, Index, keys_to_look_up
from soleclaim.identity.matching import TOO_MANY, Ranked, rank
from soleclaim.identity.record import Description, Profile, read_profile
from soleclaim.identity.strong import Contradiction, Create, Identifier, Join, decide
from soleclaim.lookup.domain import Likeness, ProjectRegistration
from soleclaim.lookup.ports import DescribedProject, Reader

MAX_FOUND: Final = 10
"""How many candidates are told."""
UNDECIDED: Final = 0.5
"""Probability where strong identifiers contradict each other and nothing else is known."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A person has to tell which of the candidates it is, if any."""

    candidates: tuple[Likeness, ...]
    detail: str


@dataclass(slots=True)
class Alike:
    """For the described projects of a batch: what stands in the store, and what the batch itself has registered."""

    known: dict[tuple[str, str], Found[DescribedProject]]
    holders: dict[str, set[ActivityKey]]
    """Per registry: the activities among the known ones on which it has a project."""
    identifiers: dict[ActivityKey, frozenset[Identifier]] = field(default_factory=dict)
    """Of the known activities, by whatever project they came: two that contradict each other are not one."""
    batch: Index = field(default_factory=Index)
    batch_keys: list[ActivityKey] = field(default_factory=list)

    @classmethod
    async def read(cls, reader: Reader, projects: Sequence[ProjectRegistration]) -> "Alike":
        """Look up all described projects of a batch at once."""
        described = [each for each in projects if each.description is not None]
        profiles = [read_profile(each.description) for each in described if each.description is not None]
        found = await reader.described([keys_to_look_up(each) for each in profiles]) if described else []
        known = {(each.registry, each.native_project_id): one for each, one in zip(described, found, strict=True)}
        keys = sorted({one.activity_key for each in found for one in each.holders})
        holders = {}
        for registry in {each.registry for each in described} if keys else ():
            standing = await reader.standing(registry, keys)
            holders[registry] = {key for key, each in standing.items() if each.registered}
        return cls(known, holders, await reader.identifiers_of(keys) if keys else {})

    async def decide(self, project: ProjectRegistration) -> Join | Create | Doubt:
        """What a project is that no strong identifier tells: beyond doubt one that is known, a new one, or a doubt."""
        if project.description is None:
            return Create()
        # In a thread: comparing takes milliseconds a project, and other calls shall not wait for a thousand of them.
        ranked = await asyncio.to_thread(self._rank, project, project.description)
        if not ranked:
            return Create()
        if ranked[0].same:
            return Join(ranked[0].key, project.identifiers)
        return doubt(likeness_of(ranked))

    async def others(self, project: ProjectRegistration, own: ActivityKey | None) -> list[Likeness]:
        """What a project may be beside the activity it stands on, if on any; none where it is most like that one."""
        if project.description is None:
            return []
        ranked = await asyncio.to_thread(self._rank, project, project.description, own)
        if ranked and ranked[0].key == own:
            return []
        return [each for each in likeness_of(ranked) if each.key != own]

    def _rank(
        self, project: ProjectRegistration, description: Description, own: ActivityKey | None = None
    ) -> list[Ranked[ActivityKey]]:
        profile, name = read_profile(description), (project.registry, project.native_project_id)
        known, batch = self.known.get(name, Found([])), self.batch.candidates(profile)
        # Not with what it was itself before.
        stored = _profiles([each for each in known.holders if each[1:3] != name], self.identifiers)
        fresh = [_completed(self.batch_keys[i], self.batch.profiles[i], self.identifiers) for i in batch.holders]
        taken = self.holders.get(project.registry, set()) - {own}
        return rank(profile, [*stored, *fresh], taken, too_many=known.too_many or batch.too_many)

    def note(self, key: ActivityKey, project: ProjectRegistration) -> None:
        """The batch has registered a project."""
        self.identifiers[key] = self.identifiers.get(key, frozenset()) | frozenset(project.identifiers)
        if project.description is not None:
            self.batch.add(read_profile(project.description))
            self.batch_keys.append(key)
            self.holders.setdefault(project.registry, set()).add(key)


def likeness_of(ranked: Sequence[Ranked[ActivityKey]]) -> list[Likeness]:
    """The likeliest, as a case keeps them."""
    return [Likeness(each.key, each.probability, each.reasons) for each in ranked[:MAX_FOUND]]


def doubt(candidates: Sequence[Likeness]) -> Doubt:
    """For a person to tell. What the registry is told names nobody."""
    if any(TOO_MANY in each.reasons for each in candidates):
        return Doubt(tuple(candidates), TOO_MANY)
    many = "an activity" if len(candidates) == 1 else f"{len(candidates)} activities"
    return Doubt(tuple(candidates), f"the description is like that of {many} known already; a person has to tell")


def _completed(
    key: ActivityKey, profile: Profile, identifiers: Mapping[ActivityKey, frozenset[Identifier]]
) -> tuple[ActivityKey, Profile]:
    """With all the identifiers of the activity, also those that came with another project."""
    return key, replace(profile, identifiers=profile.identifiers | identifiers.get(key, frozenset()))


def _profiles(
    projects: Sequence[DescribedProject], identifiers: Mapping[ActivityKey, frozenset[Identifier]]
) -> list[tuple[ActivityKey, Profile]]:
    """Each described project as something to be compared with."""
    return [_completed(each.activity_key, read_profile(each.description), identifiers) for each in projects]


async def find(reader: Reader, sought: Description) -> list[Ranked[ActivityKey]]:
    """What a project could be: first what its strong identifiers name, then what it looks like, the likeliest first.

    ``same`` where ``activities.register`` would join it: identifiers decide, and likeness only where they say nothing.
    """
    profile = read_profile(sought)
    (found,) = await reader.described([keys_to_look_up(profile)])
    owners = await reader.owners_of(sought.identifiers)
    known = await reader.identifiers_of({*owners.values(), *(each.activity_key for each in found.holders)})

    def compare() -> list[Ranked[ActivityKey]]:
        return rank(profile, _profiles(found.holders, known), too_many=found.too_many)

    alike = await asyncio.to_thread(compare)
    decision = decide(sought.identifiers, owners, known, None)
    if isinstance(decision, Create):
        return alike[:MAX_FOUND]
    of_key = {each.key: each for each in alike}
    named = [_named(key, decision, owners, of_key.pop(key, None)) for key in sorted(set(owners.values()))]
    others = [replace(each, same=False, reasons=(*_detail(decision), *each.reasons)) for each in of_key.values()]
    return [*named, *others][:MAX_FOUND]


def _named(
    key: ActivityKey,
    decision: Join | Contradiction,
    owners: Mapping[Identifier, ActivityKey],
    alike: Ranked[ActivityKey] | None,
) -> Ranked[ActivityKey]:
    """An activity that holds identifiers of the project. Tells of those that were sent, and of no other."""
    reasons = [f"shares {scheme} {value}" for (scheme, value), owner in owners.items() if owner == key]
    same = isinstance(decision, Join)
    probability = 1.0 if same else alike.probability if alike else UNDECIDED
    return Ranked(key, probability, same, (*reasons, *_detail(decision), *(alike.reasons if alike else ())))


def _detail(decision: Join | Contradiction) -> tuple[str, ...]:
    return (decision.detail,) if isinstance(decision, Contradiction) else ()
