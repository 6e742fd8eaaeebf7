"""Tables of described projects, and the keys under which those that are alike find each other.

A description belongs to its project, and goes with it where the project goes. Contracts: ``lookup.ports``.
"""

import json
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from soleclaim.core.activity_id import ActivityKey
from soleclaim.identity.blocking import MAX_HOLDERS, best_holders, key_number, keys_to_file
from soleclaim.identity.record import Description, read_profile
from soleclaim.lookup.domain import ProjectRegistration
from soleclaim.lookup.ports import DescribedProject
from soleclaim.lookup.store.unit_of_work import UnitOfWork


class DescriptionTables(UnitOfWork):
    """The part of a transaction that knows what projects look like."""

    @abstractmethod
    async def bar_descriptions(self) -> None:
        """See ``Transaction``."""

    async def described(self, lookups: Sequence[Collection[str]]) -> list[list[DescribedProject]]:
        """See ``Reader``."""
        numbers = [[key_number(each) for each in keys] for keys in lookups]
        holders = await self._holders({number for each in numbers for number in each})
        best = [best_holders([holders.get(number, []) for number in each]) for each in numbers]
        known = await self._described({each for one in best for each in one})
        return [[known[each] for each in one if each in known] for one in best]

    async def _holders(self, numbers: Collection[int]) -> dict[int, list[int]]:
        """Descriptions filed under each key; keys that too many share are left out."""
        items, values = self.relation((("number", "int"),), ((each,) for each in sorted(numbers)))
        counted = await self._run(
            "SELECT item.number, (SELECT count(*) FROM (SELECT 1 FROM description_key k WHERE k.number = item.number "
            f"LIMIT {MAX_HOLDERS + 1}) AS few) FROM {items}",
            **values,
        )
        rare = [number for number, count in counted if 0 < count <= MAX_HOLDERS]
        items, values = self.relation((("number", "int"),), ((each,) for each in rare))
        holders: defaultdict[int, list[int]] = defaultdict(list)
        for number, description_id in await self._run(
            f"SELECT k.number, k.description_id FROM {items} JOIN description_key k ON k.number = item.number "
            "ORDER BY k.number, k.description_id",
            **values,
        ):
            holders[number].append(description_id)
        return holders

    async def _described(self, ids: Collection[int]) -> dict[int, DescribedProject]:
        items, values = self.relation((("description_id", "int"),), ((each,) for each in sorted(ids)))
        rows = await self._run(
            f"SELECT d.description_id, p.activity_key, d.registry, d.document FROM {items} "
            "JOIN project_description d ON d.description_id = item.description_id JOIN native_project p "
            "ON p.registry = d.registry AND p.native_project_id = d.native_project_id",
            **values,
        )
        return {
            row[0]: DescribedProject(ActivityKey(row[1]), row[2], read_description(json.loads(row[3]))) for row in rows
        }

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
            f"INSERT INTO project_description ({names}, update_us) SELECT {names}, :now FROM {items} WHERE TRUE "
            "ON CONFLICT (registry, native_project_id) DO UPDATE SET document = excluded.document, "
            "update_us = excluded.update_us RETURNING registry, native_project_id, description_id",
            now=await self.now_us(),
            **values,
        )
        ids = {(registry, project): number for registry, project, number in rows}
        items, values = self.relation((("description_id", "int"),), ((each,) for each in sorted(ids.values())))
        await self._run(
            f"DELETE FROM description_key WHERE description_id IN (SELECT description_id FROM {items})", **values
        )
        keys = {(key_number(key), ids[each]) for each in order for key in keys_to_file(read_profile(told[each]))}
        items, values = self.relation((("number", "int"), ("description_id", "int")), sorted(keys))
        await self._run(
            f"INSERT INTO description_key (number, description_id) SELECT number, description_id FROM {items}", **values
        )


def tell_description(description: Description) -> dict[str, Any]:
    """As it is kept: what is unknown is left out."""
    return {name: value for name, value in asdict(description).items() if value not in (None, "", (), [])}


def read_description(told: dict[str, Any]) -> Description:
    """From how it is kept."""
    identifiers = tuple((scheme, value) for scheme, value in told.get("identifiers", ()))
    return Description(
        **{"id": "", **told, "identifiers": identifiers, "owner_numbers": tuple(told.get("owner_numbers", ()))}
    )
