"""What was settled between projects and activities, so that nothing asks it again. Contracts: ``lookup.ports``."""

from collections import defaultdict
from collections.abc import Sequence

from soleclaim.core.activity_id import ActivityKey
from soleclaim.identity.strong import Identifier
from soleclaim.lookup.domain import ProjectRegistration, ToldApart
from soleclaim.lookup.store.unit_of_work import UnitOfWork


class ApartTables(UnitOfWork):
    """The part of a transaction that remembers what was told apart."""

    async def settled(
        self, projects: Sequence[ProjectRegistration]
    ) -> dict[tuple[str, str], frozenset[tuple[Identifier, ActivityKey]]]:
        """See ``Transaction``."""
        items, values = self.relation(
            (("registry", "text"), ("project", "text")),
            dict.fromkeys((each.registry, each.native_project_id) for each in projects),
        )
        found: defaultdict[tuple[str, str], set[tuple[Identifier, ActivityKey]]] = defaultdict(set)
        for registry, project, scheme, value, key in await self._run(
            "SELECT t.registry, t.native_project_id, t.scheme, t.value, coalesce(a.activity_key, t.activity_key) "
            f"FROM {items} JOIN told_apart t ON t.registry = item.registry AND t.native_project_id = item.project "
            "LEFT JOIN activity_alias a ON a.alias_key = t.activity_key",
            **values,
        ):
            found[registry, project].add(((scheme, value), ActivityKey(key)))
        return {name: frozenset(each) for name, each in found.items()}

    async def apart_from(self, project: ProjectRegistration, own: ActivityKey | None) -> frozenset[ActivityKey]:
        """See ``Transaction``."""
        rows = await self._run(
            "SELECT coalesce(a.activity_key, t.activity_key) FROM told_apart t LEFT JOIN activity_alias a "
            "ON a.alias_key = t.activity_key WHERE t.registry = :registry AND t.native_project_id = :project "
            "AND t.scheme = '' UNION SELECT p.activity_key FROM told_apart t JOIN native_project p "
            "ON p.registry = t.registry AND p.native_project_id = t.native_project_id WHERE t.scheme = '' AND "
            "t.activity_key IN (SELECT CAST(:own AS bigint) UNION SELECT alias_key FROM activity_alias "
            "WHERE activity_key = :own)",
            registry=project.registry,
            project=project.native_project_id,
            own=own,
        )
        return frozenset(ActivityKey(row[0]) for row in rows)

    async def tell_apart(self, apart: Sequence[ToldApart]) -> None:
        """See ``Transaction``."""
        columns = (
            ("registry", "text"), ("native_project_id", "text"), ("scheme", "text"), ("value", "text"),
            ("activity_key", "int"),
        )  # fmt: skip
        rows = sorted({(one.registry, one.native_project_id, *one.identifier, one.activity_key) for one in apart})
        items, values = self.relation(columns, rows)
        names = ", ".join(name for name, _ in columns)
        await self._run(
            f"INSERT INTO told_apart ({names}, create_us) SELECT {names}, :now FROM {items} WHERE TRUE "
            f"ON CONFLICT ({names}) DO NOTHING",
            now=await self.now_us(),
            **values,
        )
