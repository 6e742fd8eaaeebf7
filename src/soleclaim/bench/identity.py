"""``bench identity``: how fast a described project is found among very many, beside a plain trigram search.

The many are made of what real ones are made of: words of real names as often as they stand there, provinces, common
technologies and sizes. Asked for are some of them, spelled, placed and measured a little differently, as another
registry would. Baseline, in the same run on the same server: PostgreSQL's own trigram search (``pg_trgm``, GIN index)
for as many of the most alike names.
"""

import asyncio
import csv
import json
import random
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from soleclaim.bench.database import key_of, scratch_database
from soleclaim.identity.blocking import MAX_CANDIDATES, key_number, keys_to_file, keys_to_look_up
from soleclaim.identity.places import PROVINCES
from soleclaim.identity.record import Description, read_profile
from soleclaim.lookup.service.likeness import find
from soleclaim.lookup.store import open_store, upgrade
from soleclaim.lookup.store.descriptions import tell_description
from soleclaim.policy.bundle import default_bundle

ASKED: Final = 500
PORTION: Final = 20_000
"""Records written at once."""
_KINDS: Final = ("wind", "hydro", "solar", "biomass")
_WORDS_OF: Final = {"wind": "Wind Farm", "hydro": "Hydropower Station", "solar": "PV Plant", "biomass": "Biomass Plant"}
_SIZES: Final = (49.5, 49.5, 30.0, 20.0, 100.0, 12.6, 6.4, 200.0)


@dataclass(slots=True)
class Figures:
    """Results for one number of activities. Latencies in milliseconds; ``found``: share of those asked for."""

    candidates: float = 0.0
    """Described projects compared per question, on average."""
    found: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    trigram_found: float = 0.0
    trigram_p50_ms: float = 0.0
    trigram_p99_ms: float = 0.0
    ratio_p50: float = 0.0
    """Of ours, comparing included, to the trigram search's."""
    memory_mib: float = 0.0
    """Largest resident size of this process, which compares."""


async def measure(url: str, activities: int, say: Callable[[str], None]) -> Figures:
    """Measure among ``activities`` described ones, on a scratch database of the server of ``url``."""
    figures = Figures()
    chance = random.Random(20_261_126)
    async with scratch_database(url) as database:
        say(f"{activities:,} described activities: filling")
        await asyncio.to_thread(upgrade, database)
        asked = await _fill(database, activities, chance)
        say("asking the lookup's store")
        store = await open_store(database, default_bundle(), pool_size=1)
        took, hits, compared = [], 0, 0
        try:
            for key, sought in asked:
                started = time.perf_counter()
                async with store.reading() as reader:
                    ranked = await find(reader, sought)
                took.append(time.perf_counter() - started)
                hits += any(each.key == key for each in ranked)
                async with store.reading() as reader:
                    compared += len((await reader.described([keys_to_look_up(read_profile(sought))]))[0].holders)
        finally:
            await store.close()
        figures.p50_ms, figures.p99_ms = _percentiles_ms(took)
        figures.found, figures.candidates = hits / len(asked), compared / len(asked)
        say("asking the trigram search")
        await _ask_trigrams(database, asked[::5], figures)
    figures.ratio_p50 = figures.p50_ms / figures.trigram_p50_ms
    figures.memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def _made(number: int, chance: random.Random) -> Iterator[Description]:
    table = resources.files("soleclaim.identity").joinpath("data/frequencies.csv").read_text(encoding="utf-8")
    rows = [(row["word"], int(row["names"])) for row in csv.DictReader(table.splitlines()) if len(row["word"]) > 4]
    words, counts = [word for word, _ in rows], [count for _, count in rows]
    provinces = list(PROVINCES.values())
    for i in range(number):
        province, kind = chance.choice(provinces), chance.choice(_KINDS)
        place, own = chance.choices(words, counts, k=2)
        name = f"{province.en} {place.title()} {own.title()}{chance.choice(words)} {_WORDS_OF[kind]}"
        if chance.random() < 0.3:
            name += f" Phase {chance.choice(('I', 'II', 'III'))}"
        box = province.box
        yield Description(
            id=str(i), name=name, technology=kind, capacity_mw=chance.choice(_SIZES), country="CN", region=province.en,
            latitude=chance.uniform(box.south, box.north), longitude=chance.uniform(box.west, box.east),
        )  # fmt: skip


def _otherwise(one: Description, chance: random.Random) -> Description:
    """As another registry would write it: a letter lost, the size cut, the place a kilometre or two off."""
    name = one.name.replace(" Station", "").replace("Phase II", "Second Phase")
    cut = chance.randrange(len(one.region) + 3, len(one.region) + 6)
    return replace(
        one, id="", name=name[:cut] + name[cut + 1 :], capacity_mw=float(int(one.capacity_mw or 1)), region="",
        latitude=(one.latitude or 0) + chance.uniform(-0.01, 0.01),
        longitude=(one.longitude or 0) + chance.uniform(-0.01, 0.01),
    )  # fmt: skip


async def _fill(url: str, number: int, chance: random.Random) -> list[tuple[int, Description]]:
    """Write the records as the store keeps them; what to ask for, with the activity it is."""
    asked: list[tuple[int, Description]] = []
    engine = create_async_engine(url)
    portion: list[Description] = []
    try:
        async with engine.connect() as connection:
            for i, one in enumerate(_made(number, chance), start=1):
                portion.append(one)
                if i % max(1, number // ASKED) == 0:
                    asked.append((key_of(i), _otherwise(one, chance)))
                if len(portion) == PORTION or i == number:
                    await _write(connection, i - len(portion) + 1, portion)
                    portion.clear()
            await connection.execute(text("CREATE EXTENSION pg_trgm"))
            await connection.execute(
                text("CREATE INDEX activity_trigrams ON activity USING gin (display_name gin_trgm_ops)")
            )
            await connection.commit()
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            await connection.execute(text("VACUUM ANALYZE"))
    finally:
        await engine.dispose()
    return asked


async def _write(connection: AsyncConnection, first: int, portion: Sequence[Description]) -> None:
    numbers = range(first, first + len(portion))
    keys = [sorted(map(key_number, keys_to_file(read_profile(each)))) for each in portion]
    values = {
        "keys": [key_of(n) for n in numbers],
        "numbers": list(numbers),
        "names": [each.name for each in portion],
        "documents": [json.dumps(tell_description(each)) for each in portion],
        "filed": [key for each in keys for key in each],
        "of": [n for n, each in zip(numbers, keys, strict=True) for _ in each],
    }
    statements = (
        "INSERT INTO activity (activity_key, ordinal, country, activity_type, display_name, time_zone, create_us) "
        "SELECT k, n, 'CN', 'wind', name, 'Asia/Shanghai', 0 FROM unnest(CAST(:keys AS bigint[]), "
        "CAST(:numbers AS bigint[]), CAST(:names AS text[])) AS item(k, n, name)",
        "INSERT INTO native_project (registry, native_project_id, activity_key, country) SELECT 'gec', n, k, 'CN' "
        "FROM unnest(CAST(:keys AS bigint[]), CAST(:numbers AS bigint[])) AS item(k, n)",
        "INSERT INTO project_description (description_id, registry, native_project_id, document, update_us) "
        "SELECT n, 'gec', n, document, 0 FROM unnest(CAST(:numbers AS bigint[]), CAST(:documents AS text[])) "
        "AS item(n, document)",
        "INSERT INTO description_key (number, description_id) "
        "SELECT * FROM unnest(CAST(:filed AS bigint[]), CAST(:of AS bigint[]))",
    )
    for statement in statements:
        clause = text(statement)
        await connection.execute(clause, {name: values[name] for name in clause.compile().params})
    await connection.commit()


async def _ask_trigrams(url: str, asked: Sequence[tuple[int, Description]], figures: Figures) -> None:
    engine = create_async_engine(url)
    took, hits = [], 0
    question = text(
        "SELECT activity_key FROM activity WHERE display_name % :name "
        f"ORDER BY similarity(display_name, :name) DESC LIMIT {MAX_CANDIDATES}"
    )
    try:
        async with engine.connect() as connection:
            for key, sought in asked:
                started = time.perf_counter()
                rows = (await connection.execute(question, {"name": sought.name})).all()
                took.append(time.perf_counter() - started)
                hits += any(row[0] == key for row in rows)
    finally:
        await engine.dispose()
    figures.trigram_p50_ms, figures.trigram_p99_ms = _percentiles_ms(took)
    figures.trigram_found = hits / len(asked)


def _percentiles_ms(took: Sequence[float]) -> tuple[float, float]:
    return statistics.median(took) * 1000, statistics.quantiles(took, n=100)[98] * 1000
