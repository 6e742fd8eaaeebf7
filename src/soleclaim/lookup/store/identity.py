"""Tables of identity: activities, strong identifiers, native projects. Contracts: ``lookup.ports``."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from soleclaim.core.activity_id import ActivityKey, make_activity_id
from soleclaim.identity.strong import Identifier
from soleclaim.lookup.domain import (
    Activity,
    EventKind,
    ProjectRegistration,
)
from soleclaim.lookup.ports import Identity, Standing
from soleclaim.lookup.store.descriptions import DescriptionTables
from soleclaim.lookup.store.rows import (
    to_instant,
)
from soleclaim.lookup.store.unit_of_work import RepeatableError


class IdentityTables(DescriptionTables):
    """The part of a transaction that tells activities apart."""

    async def activities(self, keys: Sequence[ActivityKey]) -> dict[ActivityKey, Activity]:
        """See ``Reader``."""
        items, values = self.relation((("activity_key", "int"),), ((key,) for key in dict.fromkeys(keys)))
        rows = await self._run(
            f"SELECT a.* FROM activity a JOIN {items} ON item.activity_key = a.activity_key", **values
        )
        return {ActivityKey(row.activity_key): activity for row, activity in await self._with_identity(rows)}

    async def _with_identity(self, rows: Sequence[Any]) -> list[tuple[Any, Activity]]:
        items, values = self.relation((("activity_key", "int"),), ((row.activity_key,) for row in rows))
        identifiers = await self._identifiers([row.activity_key for row in rows])
        projects: dict[int, list[tuple[str, str]]] = defaultdict(list)
        for key, registry, project in await self._run(
            "SELECT p.activity_key, p.registry, p.native_project_id FROM native_project p "
            f"JOIN {items} ON item.activity_key = p.activity_key ORDER BY p.registry, p.native_project_id",
            **values,
        ):
            projects[key].append((registry, project))
        return [
            (
                row,
                Activity(
                    key=ActivityKey(row.activity_key),
                    activity_id=make_activity_id(row.country, ActivityKey(row.activity_key)),
                    country=row.country,
                    activity_type=row.activity_type,
                    display_name=row.display_name,
                    time_zone=row.time_zone,
                    identifiers=tuple(identifiers.get(row.activity_key, ())),
                    native_projects=tuple(projects[row.activity_key]),
                    create_time=to_instant(row.create_us),
                ),
            )
            for row in rows
        ]

    async def activity_of_project(self, registry: str, native_project_id: str) -> ActivityKey | None:
        """See ``Reader``."""
        rows = await self._run(
            "SELECT activity_key FROM native_project WHERE registry = :registry AND native_project_id = :project",
            registry=registry,
            project=native_project_id,
        )
        return ActivityKey(rows[0][0]) if rows else None

    async def activity_of_identifier(self, identifier: Identifier) -> ActivityKey | None:
        """See ``Reader``."""
        rows = await self._run(
            "SELECT activity_key FROM strong_identifier WHERE scheme = :scheme AND value = :value",
            scheme=identifier[0],
            value=identifier[1],
        )
        return ActivityKey(rows[0][0]) if rows else None

    async def owners_of(self, identifiers: Collection[Identifier]) -> dict[Identifier, ActivityKey]:
        """See ``Reader``."""
        items, values = self.relation((("scheme", "text"), ("value", "text")), dict.fromkeys(identifiers))
        return {
            (scheme, value): ActivityKey(key)
            for scheme, value, key in await self._run(
                "SELECT i.scheme, i.value, i.activity_key FROM strong_identifier i "
                f"JOIN {items} ON item.scheme = i.scheme AND item.value = i.value",
                **values,
            )
        }

    async def identifiers_of(self, keys: Collection[ActivityKey]) -> dict[ActivityKey, frozenset[Identifier]]:
        """See ``Reader``."""
        return {ActivityKey(key): frozenset(each) for key, each in (await self._identifiers(keys)).items()}

    async def _identifiers(self, keys: Collection[int]) -> dict[int, list[Identifier]]:
        items, values = self.relation((("activity_key", "int"),), ((each,) for each in dict.fromkeys(keys)))
        found: defaultdict[int, list[Identifier]] = defaultdict(list)
        for key, scheme, value in await self._run(
            "SELECT i.activity_key, i.scheme, i.value FROM strong_identifier i "
            f"JOIN {items} ON item.activity_key = i.activity_key ORDER BY i.scheme, i.value",
            **values,
        ):
            found[key].append((scheme, value))
        return found

    async def list_activities(self, *, registry: str | None, after: int, limit: int) -> list[tuple[int, Activity]]:
        """See ``Reader``."""
        narrowed = (
            "AND EXISTS (SELECT 1 FROM native_project p WHERE p.activity_key = a.activity_key "
            "AND p.registry = :registry) "
            if registry
            else ""
        )
        rows = await self._run(
            "SELECT a.* FROM activity a WHERE a.ordinal > :after AND NOT EXISTS (SELECT 1 FROM activity_alias x "
            f"WHERE x.alias_key = a.activity_key) {narrowed}ORDER BY a.ordinal LIMIT :limit",
            after=after,
            limit=limit,
            **({"registry": registry} if registry else {}),
        )
        return [(row.ordinal, activity) for row, activity in await self._with_identity(rows)]

    async def standing(
        self, registry: str, keys: Sequence[ActivityKey], *, covering: Collection[str] = ()
    ) -> dict[ActivityKey, Standing]:
        """See ``Transaction``."""
        wanted = dict.fromkeys(keys)
        items, values = self.relation((("activity_key", "int"),), ((key,) for key in wanted))
        measured = "EXISTS (SELECT 1 FROM outcome o WHERE o.activity_key = item.activity_key)"
        case = "(SELECT min(c.case_id) FROM review_candidate c WHERE c.activity_key = item.activity_key AND c.holding)"
        covers, more = _may_be_covered(covering)
        disputed = "EXISTS (SELECT 1 FROM dispute d WHERE d.activity_key = item.activity_key AND d.holding)"
        rows = await self._run(
            f"SELECT item.activity_key, p.country, {measured}, {case}, {covers}, {disputed} FROM {items} "
            # CROSS: SQLite takes the tables in this order; by itself it goes through all projects of the registry.
            "CROSS JOIN native_project p WHERE p.activity_key = item.activity_key AND p.registry = :registry",
            registry=registry,
            **values,
            **more,
        )
        standing = {
            ActivityKey(key): Standing(
                country, True, bool(known), held, may_be_covered=bool(covers), disputed=bool(barred)
            )
            for key, country, known, held, covers, barred in rows
        }
        missing = [key for key in wanted if key not in standing]
        if missing:
            items, values = self.relation((("activity_key", "int"),), ((key,) for key in missing))
            rows = await self._run(
                f"SELECT a.activity_key, a.country, {measured}, {case}, b.country, b.activity_key FROM activity a "
                f"JOIN {items} ON item.activity_key = a.activity_key "
                "LEFT JOIN activity_alias x ON x.alias_key = a.activity_key "
                "LEFT JOIN activity b ON b.activity_key = x.activity_key",
                **values,
            )
            standing |= {
                ActivityKey(key): Standing(
                    country, False, bool(known), held, None if into is None else make_activity_id(survivor, into)
                )
                for key, country, known, held, survivor, into in rows
            }
        return standing

    async def identity_of(self, projects: Sequence[ProjectRegistration], *, hold: bool = True) -> Identity:
        """See ``Transaction``."""
        items, values = self.relation(
            (("registry", "text"), ("project", "text")),
            dict.fromkeys((each.registry, each.native_project_id) for each in projects),
        )
        registered = {
            (registry, project): ActivityKey(key)
            for registry, project, key in await self._run(
                "SELECT p.registry, p.native_project_id, p.activity_key FROM native_project p "
                f"JOIN {items} ON item.registry = p.registry AND item.project = p.native_project_id",
                **values,
            )
        }
        owners = await self.owners_of([identifier for each in projects for identifier in each.identifiers])
        if hold:
            # Before their identifiers are read: two registrations of one activity see each other's.
            await self.hold_activities([*registered.values(), *owners.values()])
            await self._require_unmoved(registered, owners)
        concerned = await self.activities([*registered.values(), *owners.values()])
        return registered, owners, {key: frozenset(each.identifiers) for key, each in concerned.items()}

    async def _require_unmoved(
        self, registered: Mapping[tuple[str, str], ActivityKey], owners: Mapping[Identifier, ActivityKey]
    ) -> None:
        """``RepeatableError`` when a merge or split moved one of them between the look at it and the hold on it."""
        if not registered and not owners:
            return
        columns = (("first", "text"), ("second", "text"), ("activity_key", "int"))
        projects, values = self.relation(columns, ((*name, key) for name, key in registered.items()), "project")
        identifiers, more = self.relation(columns, ((*name, key) for name, key in owners.items()), "identifier")
        moved = await self._run(
            f"SELECT 1 FROM {projects} JOIN native_project p ON p.registry = project.first "
            "AND p.native_project_id = project.second AND p.activity_key <> project.activity_key "
            f"UNION ALL SELECT 1 FROM {identifiers} JOIN strong_identifier i ON i.scheme = identifier.first "
            "AND i.value = identifier.second AND i.activity_key <> identifier.activity_key",
            **values,
            **more,
        )
        if moved:
            raise RepeatableError

    async def add_activities(self, created: Sequence[tuple[ActivityKey, ProjectRegistration]]) -> None:
        """See ``Transaction``."""
        if not created:
            return
        columns = (
            ("activity_key", "int"), ("ordinal", "int"), ("country", "text"), ("activity_type", "text"),
            ("display_name", "text"), ("time_zone", "text"),
        )  # fmt: skip
        ordinals = await self.draw("activity_ordinal", len(created))
        items, values = self.relation(
            columns,
            (
                (key, ordinal, each.country, each.activity_type, each.display_name, each.time_zone)
                for ordinal, (key, each) in zip(ordinals, created, strict=True)
            ),
        )
        names = ", ".join(name for name, _ in columns)
        await self._run(
            f"INSERT INTO activity ({names}, create_us) SELECT {names}, :now FROM {items}",
            now=await self.now_us(),
            **values,
        )
        await self._add_identity([(key, each, each.identifiers) for key, each in created])
        await self._note(
            [
                (EventKind.ACTIVITY_REGISTERED, key, each.country, each.registry, None, 0, each.native_project_id)
                for key, each in created
            ]
        )

    async def join_projects(
        self, joined: Sequence[tuple[ActivityKey, ProjectRegistration, Sequence[Identifier]]]
    ) -> None:
        """See ``Transaction``."""
        if not joined:
            return
        added = await self._add_identity(joined)
        await self._note(
            [
                (EventKind.PROJECT_JOINED, key, each.country, each.registry, None, 0, each.native_project_id)
                for key, each, new in joined
                if new or (each.registry, each.native_project_id) in added
            ]
        )

    async def _add_identity(
        self, projects: Sequence[tuple[ActivityKey, ProjectRegistration, Sequence[Identifier]]]
    ) -> set[tuple[str, str]]:
        """Insert projects and identifiers; the projects that were new. Sorted, so that two batches do not deadlock.

        ``RepeatableError`` when another transaction registered a project elsewhere since this one looked.
        """
        columns = (("registry", "text"), ("project", "text"), ("activity_key", "int"))
        rows = sorted({(each.registry, each.native_project_id, key) for key, each, _ in projects})
        items, values = self.relation(columns, rows)
        added = await self._run(
            "INSERT INTO native_project (registry, native_project_id, activity_key, country) "
            "SELECT item.registry, item.project, item.activity_key, a.country "
            f"FROM {items} JOIN activity a ON a.activity_key = item.activity_key WHERE TRUE "
            "ON CONFLICT (registry, native_project_id) DO NOTHING RETURNING registry, native_project_id, activity_key",
            **values,
        )
        if len(added) < len(rows):
            items, values = self.relation(columns, set(rows).difference(tuple(row) for row in added))
            elsewhere = await self._run(
                f"SELECT 1 FROM {items} JOIN native_project p ON p.registry = item.registry "
                "AND p.native_project_id = item.project AND p.activity_key <> item.activity_key",
                **values,
            )
            if elsewhere:
                raise RepeatableError
        identifiers = sorted({(*identifier, key) for key, _, new in projects for identifier in new})
        if identifiers:
            items, values = self.relation((("scheme", "text"), ("value", "text"), ("activity_key", "int")), identifiers)
            await self._run(
                "INSERT INTO strong_identifier (scheme, value, activity_key) "
                f"SELECT scheme, value, activity_key FROM {items}",
                **values,
            )
        await self._describe([each for _, each, _ in projects])
        return {(registry, project) for registry, project, _ in added}


def _may_be_covered(covering: Collection[str]) -> tuple[str, dict[str, str]]:
    """The question, and its values, whether one of these registries knows the item or the item is part of another.

    An aggregate, so that no plan looks each registry up by itself: the index holds all that know an activity together.
    """
    if not covering:
        return "FALSE", {}
    values = {f"covering_{number}": code for number, code in enumerate(sorted(covering))}
    names = ", ".join(f":{name}" for name in values)
    known = (
        f"(SELECT max(CASE WHEN c.registry IN ({names}) THEN 1 ELSE 0 END) FROM native_project c "
        "WHERE c.activity_key = item.activity_key) = 1"
    )
    part = "EXISTS (SELECT 1 FROM activity_part t WHERE t.child_key = item.activity_key)"
    return f"({known} OR {part})", values
