"""Tables of described projects, and the keys under which those that are alike find each other.

A description belongs to its project, and goes with it where the project goes. Contracts: ``lookup.ports``.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from soleclaim.core.activity_id import ActivityKey
from soleclaim.identity.blocking import (
    FILING,
    MAX_CANDIDATES,
    MAX_HOLDERS,
    Found,
    Sought,
    best_holders,
    key_number,
    keys_to_file,
    plan,
)
from soleclaim.identity.record import Description, read_profile
from soleclaim.lookup.domain import ProjectRegistration
from soleclaim.lookup.ports import DescribedProject
from soleclaim.lookup.store.unit_of_work import UnitOfWork

_DESCRIBED: Final = "p.activity_key, d.registry, d.native_project_id, d.document"


class DescriptionTables(UnitOfWork):
    """The part of a transaction that knows what projects look like."""

    async def described(self, lookups: Sequence[Sequence[Sought]]) -> list[Found[DescribedProject]]:
        """See ``Reader``."""
        counts = await self._count_holders({key_number(one.key) for each in lookups for one in each})
        # Few keys are crowded: narrower ones are counted for these alone.
        wide = [one for each in lookups for one in each if counts[key_number(one.key)] > MAX_HOLDERS]
        narrower = {key for one in wide for way in one.narrower for key in way}
        counts |= await self._count_holders({key_number(key) for key in narrower})
        crowded = {key for key in (*narrower, *(one.key for one in wide)) if counts[key_number(key)] > MAX_HOLDERS}
        plans = [plan(each, crowded) for each in lookups]
        read = {number for each in plans for key in each.read if counts[number := key_number(key)]}
        holders = await self._holders(read)
        samples = {key: await self._sample(key_number(key)) for key in {key for each in plans for key in each.sampled}}
        best = [
            best_holders([holders.get(key_number(key), []) for key in one.read], [samples[key] for key in one.sampled])
            for one in plans
        ]
        known = await self._described({each for one in best for each in one.holders})
        return [Found([known[each] for each in one.holders if each in known], one.too_many) for one in best]

    async def _count_holders(self, numbers: Collection[int]) -> dict[int, int]:
        """How many descriptions are filed under each key; of a crowd, one more than ``MAX_HOLDERS``."""
        if not numbers:
            return {}
        items, values = self.relation((("number", "int"),), ((each,) for each in sorted(numbers)))
        rows = await self._run(
            "SELECT item.number, (SELECT count(*) FROM (SELECT 1 FROM description_key k WHERE k.number = item.number "
            f"LIMIT {MAX_HOLDERS + 1}) AS few) FROM {items}",
            **values,
        )
        return dict(row for row in rows)

    async def _holders(self, numbers: Collection[int]) -> dict[int, list[int]]:
        """Descriptions filed under each key."""
        items, values = self.relation((("number", "int"),), ((each,) for each in sorted(numbers)))
        holders: defaultdict[int, list[int]] = defaultdict(list)
        for number, description_id in await self._run(
            f"SELECT k.number, k.description_id FROM {items} JOIN description_key k ON k.number = item.number "
            "ORDER BY k.number, k.description_id",
            **values,
        ):
            holders[number].append(description_id)
        return holders

    async def _sample(self, number: int) -> list[int]:
        """A few descriptions of a crowd, so that a person has something to look at."""
        rows = await self._run(
            "SELECT description_id FROM description_key WHERE number = :number ORDER BY description_id "
            f"LIMIT {MAX_CANDIDATES}",
            number=number,
        )
        return [row[0] for row in rows]

    async def _described(self, ids: Collection[int]) -> dict[int, DescribedProject]:
        items, values = self.relation((("description_id", "int"),), ((each,) for each in sorted(ids)))
        rows = await self._run(
            f"SELECT d.description_id, {_DESCRIBED} FROM {items} "
            "JOIN project_description d ON d.description_id = item.description_id JOIN native_project p "
            "ON p.registry = d.registry AND p.native_project_id = d.native_project_id",
            **values,
        )
        return {row[0]: _to_described(*row[1:]) for row in rows}

    async def descriptions_of(self, keys: Collection[ActivityKey]) -> dict[ActivityKey, list[DescribedProject]]:
        """See ``Reader``."""
        items, values = self.relation((("activity_key", "int"),), ((each,) for each in sorted(keys)))
        found: defaultdict[ActivityKey, list[DescribedProject]] = defaultdict(list)
        for row in await self._run(
            f"SELECT {_DESCRIBED} FROM {items} JOIN native_project p ON p.activity_key = item.activity_key "
            "JOIN project_description d ON d.registry = p.registry AND d.native_project_id = p.native_project_id "
            "ORDER BY d.registry, d.native_project_id",
            **values,
        ):
            found[ActivityKey(row[0])].append(_to_described(*row))
        return dict(found)

    async def _describe(self, projects: Sequence[ProjectRegistration]) -> None:
        """Keep what is said of these projects; a later word replaces an earlier one."""
        told = {
            (each.registry, each.native_project_id): each.description
            for each in projects
            if each.description is not None
        }
        if not told:
            return
        order = sorted(told)
        fresh = await self.draw("project_description_id", len(order))
        columns = (("description_id", "int"), ("registry", "text"), ("native_project_id", "text"), ("document", "text"))
        documents = {each: json.dumps(tell_description(told[each]), ensure_ascii=False) for each in order}
        items, values = self.relation(
            columns, ((number, *each, documents[each]) for number, each in zip(fresh, order, strict=True))
        )
        names = ", ".join(name for name, _ in columns)
        rows = await self._run(
            f"INSERT INTO project_description ({names}, update_us, filing) SELECT {names}, :now, :filing FROM {items} "
            "WHERE TRUE ON CONFLICT (registry, native_project_id) DO UPDATE SET document = excluded.document, "
            "update_us = excluded.update_us, filing = excluded.filing "
            "RETURNING registry, native_project_id, description_id",
            now=await self.now_us(),
            filing=FILING,
            **values,
        )
        await self._file({number: told[registry, project] for registry, project, number in rows})

    async def refile(self, *, after: int, limit: int) -> list[int]:
        """File descriptions again whose keys another program's rules gave; their ids, which rise from ``after``."""
        await self.bar_descriptions()
        rows = await self._run(
            "SELECT description_id, document FROM project_description WHERE description_id > :after "
            "AND filing <> :filing ORDER BY description_id LIMIT :limit",
            after=after,
            filing=FILING,
            limit=limit,
        )
        if not rows:
            return []
        await self._file({number: read_description(json.loads(document)) for number, document in rows})
        items, values = self.relation((("description_id", "int"),), ((row[0],) for row in rows))
        await self._run(
            "UPDATE project_description SET filing = :filing "
            f"WHERE description_id IN (SELECT description_id FROM {items})",
            filing=FILING,
            **values,
        )
        return [row[0] for row in rows]

    async def _file(self, told: Mapping[int, Description]) -> None:
        """File descriptions under their keys, and under no others."""
        items, values = self.relation((("description_id", "int"),), ((each,) for each in sorted(told)))
        await self._run(
            f"DELETE FROM description_key WHERE description_id IN (SELECT description_id FROM {items})", **values
        )
        keys = {(key_number(key), number) for number, one in told.items() for key in keys_to_file(read_profile(one))}
        items, values = self.relation((("number", "int"), ("description_id", "int")), sorted(keys))
        await self._run(
            f"INSERT INTO description_key (number, description_id) SELECT number, description_id FROM {items}", **values
        )


def _to_described(key: int, registry: str, native_project_id: str, document: str) -> DescribedProject:
    return DescribedProject(ActivityKey(key), registry, native_project_id, read_description(json.loads(document)))


def tell_description(description: Description) -> dict[str, Any]:
    """As it is kept: what is unknown is left out."""
    return {name: value for name, value in asdict(description).items() if value not in (None, "", (), [])}


def read_description(told: dict[str, Any]) -> Description:
    """From how it is kept."""
    identifiers = tuple((scheme, value) for scheme, value in told.get("identifiers", ()))
    return Description(
        **{"id": "", **told, "identifiers": identifiers, "owner_numbers": tuple(told.get("owner_numbers", ()))}
    )
