"""What a described project could be, of all that is known: the decision of ``identity.matching`` on the store."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from soleclaim.core.activity_id import ActivityKey
from soleclaim.identity.blocking import Index, keys_to_look_up
from soleclaim.identity.matching import Ranked, rank
from soleclaim.identity.record import Description, read_profile
from soleclaim.identity.strong import Create, Join
from soleclaim.lookup.domain import Likeness, ProjectRegistration
from soleclaim.lookup.ports import DescribedProject, Reader

MAX_FOUND = 10
"""How many candidates are told."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A person has to tell which of the candidates it is, if any."""

    candidates: tuple[Likeness, ...]
    detail: str


@dataclass(slots=True)
class Alike:
    """For the described projects of a batch: what stands in the store, and what the batch itself has registered."""

    known: dict[tuple[str, str], list[DescribedProject]]
    holders: dict[str, set[ActivityKey]]
    """Per registry: the activities among the known ones on which it has a project."""
    batch: Index = field(default_factory=Index)
    batch_keys: list[ActivityKey] = field(default_factory=list)

    @classmethod
    async def read(cls, reader: Reader, projects: Sequence[ProjectRegistration]) -> "Alike":
        """Look up all described projects of a batch at once."""
        described = [each for each in projects if each.description is not None]
        profiles = [read_profile(each.description) for each in described if each.description is not None]
        found = await reader.described([keys_to_look_up(each) for each in profiles]) if described else []
        known = {(each.registry, each.native_project_id): one for each, one in zip(described, found, strict=True)}
        keys = sorted({one.activity_key for each in found for one in each})
        holders = {}
        for registry in {each.registry for each in described} if keys else ():
            standing = await reader.standing(registry, keys)
            holders[registry] = {key for key, each in standing.items() if each.registered}
        return cls(known, holders)

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
        candidates = tuple(Likeness(each.key, each.probability, each.reasons) for each in ranked[:MAX_FOUND])
        many = "an activity" if len(candidates) == 1 else f"{len(candidates)} activities"
        return Doubt(candidates, f"the description is like that of {many} known already; a person has to tell")

    def _rank(self, project: ProjectRegistration, description: Description) -> list[Ranked[ActivityKey]]:
        profile = read_profile(description)
        stored = [
            (each.activity_key, read_profile(each.description))
            for each in self.known.get((project.registry, project.native_project_id), ())
        ]
        fresh = [(self.batch_keys[i], self.batch.profiles[i]) for i in self.batch.candidates(profile)]
        return rank(profile, [*stored, *fresh], taken=self.holders.get(project.registry, set()))

    def note(self, key: ActivityKey, project: ProjectRegistration) -> None:
        """The batch has registered a project."""
        if project.description is not None:
            self.batch.add(read_profile(project.description))
            self.batch_keys.append(key)
            self.holders.setdefault(project.registry, set()).add(key)


async def find(reader: Reader, sought: Description) -> list[Ranked[ActivityKey]]:
    """What a description could be, the likeliest first."""
    profile = read_profile(sought)
    (found,) = await reader.described([keys_to_look_up(profile)])

    def compare() -> list[Ranked[ActivityKey]]:
        return rank(profile, [(each.activity_key, read_profile(each.description)) for each in found])[:MAX_FOUND]

    return await asyncio.to_thread(compare)
