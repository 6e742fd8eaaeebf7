"""``bench locks``: how fast the lookup grants, as a ratio to the bare insert it rests on (design section 9).

Baseline ("raw"): the set-based insert into a table like ``segment`` alone, with its exclusion constraint, from the
same number of connections in the same batches, twice as many of them under way, no history, no request, no transport.
Against it, in the same run on the same server: batch grants through gRPC with mutual TLS, everything they do
included; the full acquire, begin, commit cycle in batches; single calls at half of their peak.
"""

import asyncio
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from soleclaim.api.common.v1 import types_pb2
from soleclaim.api.lookup.v1 import issuance_lock_service_pb2 as pb2
from soleclaim.bench.database import ACTIVITIES, MONTH_US, fill, key_of, scratch_database
from soleclaim.bench.usage import children_of, cpu_s, is_process
from soleclaim.client import LookupClient
from soleclaim.core.activity_id import make_activity_id
from soleclaim.core.identity import Caller, Role
from soleclaim.rpc.certs import issue_certificate, make_authority
from soleclaim.rpc.tls import TlsFiles

EPOCH_S: Final = 1_735_689_600
"""Start of the first period granted by the benchmark: 2025-01-01."""
MONTH_S: Final = MONTH_US // 1_000_000
TIMEOUT_S: Final = 60.0
TURNS: Final = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    ``connections``: to the database, on both sides. Twice as many batches are under way, so that no connection waits
    for the next batch to be put together.
    """

    seconds: float
    """Of each kind of load, in turns."""
    batch: int
    connections: int
    workers: int


@dataclass(slots=True)
class Figures:
    """Results for one number of existing locks. Rates per second, latencies in milliseconds."""

    raw_grants_per_s: float = 0.0
    grpc_grants_per_s: float = 0.0
    ratio: float = 0.0
    issuances_per_s: float = 0.0
    cycle_ratio: float = 0.0
    unary_per_s: float = 0.0
    unary_p50_ms: float = 0.0
    unary_p99_ms: float = 0.0
    limited_by: dict[str, dict[str, float]] = field(default_factory=dict)
    """Per phase: cores kept busy by the lookup's processes, the database's, and this client."""


async def measure(url: str, existing: int, plan: Plan, say: Callable[[str], None]) -> Figures:
    """Measure with ``existing`` locks in the store, on a scratch database of the server of ``url``."""
    figures = Figures()
    async with scratch_database(url) as database:
        say(f"{existing:,} existing locks: filling")
        await fill(database, existing)
        with tempfile.TemporaryDirectory(prefix="soleclaim-bench-") as folder:
            async with served_lookup(database, Path(folder), plan) as (client, meter), _raw(database, plan) as insert:
                supply = free_months()
                raw, grants, cycles = [], [], []
                # In turns, so that a machine that grows slower or faster meanwhile does so for all three.
                turn = replace(plan, seconds=plan.seconds / TURNS)
                for i in range(1, TURNS + 1):
                    say(f"turn {i} of {TURNS}: raw inserts, batch grants through gRPC, acquire-begin-commit in batches")
                    raw.append(await repeat(turn, insert))
                    grants.append(await meter("grants", repeat(turn, _granting(client, supply, plan))))
                    cycles.append(await meter("cycle", repeat(turn, _cycling(client, supply, plan))))
                say("single grants")
                figures.unary_per_s = await meter("unary", repeat(plan, _single(client, supply), tasks=8))
                latencies = await _paced(plan, _single(client, supply), rate=figures.unary_per_s / 2)
                figures.limited_by = meter.busy
    figures.raw_grants_per_s, figures.grpc_grants_per_s = statistics.mean(raw), statistics.mean(grants)
    figures.issuances_per_s = statistics.mean(cycles)
    figures.ratio = figures.grpc_grants_per_s / figures.raw_grants_per_s
    figures.cycle_ratio = figures.issuances_per_s / figures.raw_grants_per_s
    figures.unary_p50_ms = statistics.median(latencies) * 1000
    figures.unary_p99_ms = statistics.quantiles(latencies, n=100)[98] * 1000
    return figures


Work = Callable[[], Awaitable[int]]
"""One step of load; how many grants it made."""


async def repeat(plan: Plan, work: Work, *, tasks: int | None = None) -> float:
    """Run ``work`` over and over from several tasks; grants per second."""
    await work()
    end = time.monotonic() + plan.seconds

    async def loop() -> int:
        done = 0
        while time.monotonic() < end:
            done += await work()
        return done

    started = time.monotonic()
    total = sum(await asyncio.gather(*(loop() for _ in range(tasks or 2 * plan.connections))))
    return total / (time.monotonic() - started)


async def _paced(plan: Plan, work: Work, *, rate: float) -> list[float]:
    """Latencies of ``work`` started at random moments at ``rate`` per second, whatever the earlier ones do."""
    latencies: list[float] = []

    async def timed() -> None:
        started = time.monotonic()
        await work()
        latencies.append(time.monotonic() - started)

    end = time.monotonic() + plan.seconds
    async with asyncio.TaskGroup() as group:
        while time.monotonic() < end or len(latencies) < 2:
            group.create_task(timed())
            await asyncio.sleep(random.expovariate(rate))
    return latencies


def free_months() -> Iterator[tuple[int, int]]:
    """(n of the activity, month) that nobody has asked for yet, activities in random order."""
    order = list(range(1, ACTIVITIES + 1))
    for month in count():
        random.shuffle(order)
        for n in order:
            yield n, month


@asynccontextmanager
async def _raw(url: str, plan: Plan) -> AsyncIterator[Work]:
    """The bare insert, on ``plan.connections`` connections."""
    engine = create_async_engine(url, pool_size=plan.connections)
    supply = free_months()
    connections: asyncio.Queue[AsyncConnection] = asyncio.Queue()

    async def insert() -> int:
        # Sorted as the store sorts, so that concurrent batches do not deadlock.
        rows = sorted((key_of(n), (EPOCH_S + month * MONTH_S) * 1_000_000) for n, month in take(supply, plan.batch))
        values = {"keys": [key for key, _ in rows], "starts": [start for _, start in rows]}
        connection = await connections.get()
        try:
            await connection.execute(
                text(
                    "INSERT INTO raw_segment (lock_id, activity_key, attributes, period_start_us, period_end_us, "
                    f"slice_start, slice_end, live) SELECT 1, k, '{{1}}', s, s + {MONTH_US}, 0, 9223372036854775807, "
                    "TRUE FROM unnest(CAST(:keys AS bigint[]), CAST(:starts AS bigint[])) AS item(k, s) "
                    "ON CONFLICT DO NOTHING RETURNING lock_id"
                ),
                values,
            )
            await connection.commit()
        finally:
            connections.put_nowait(connection)
        return plan.batch

    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        for _ in range(plan.connections):
            connections.put_nowait(await stack.enter_async_context(engine.connect()))
        yield insert


def take(supply: Iterator[tuple[int, int]], number: int) -> list[tuple[int, int]]:
    """The next of them."""
    return [next(supply) for _ in range(number)]


_NAMES: Final = [f"activities/{make_activity_id('CN', key_of(n))}" for n in range(ACTIVITIES + 1)]


_COMMON: Final = pb2.AcquireIssuanceLockRequest(
    registry="gec",
    instrument="GEC",
    units=1,
    declaration=types_pb2.Declaration(no_other_application=True, no_claim_after_transfer=True),
)


def _fill(request: pb2.AcquireIssuanceLockRequest, n: int, month: int) -> None:
    start = EPOCH_S + month * MONTH_S
    request.CopyFrom(_COMMON)
    request.activity = _NAMES[n]
    request.period.start_time.seconds = start
    request.period.end_time.seconds = start + MONTH_S
    request.reference = f"bench-{n}-{month}"


async def _grant_batch(
    client: LookupClient, supply: Iterator[tuple[int, int]], plan: Plan
) -> list[tuple[str, int, pb2.IssuanceLock]]:
    spots = take(supply, plan.batch)
    request = pb2.BatchAcquireIssuanceLocksRequest(request_id=secrets.token_hex(16))
    for n, month in spots:
        _fill(request.requests.add(), n, month)
    response = await client.call(client.locks.BatchAcquireIssuanceLocks, request, timeout_s=TIMEOUT_S)
    return [
        (f"bench-{n}", month, result.lock)
        for (n, month), result in zip(spots, response.results, strict=True)
        if result.HasField("lock")
    ]


def _granting(client: LookupClient, supply: Iterator[tuple[int, int]], plan: Plan) -> Work:
    async def work() -> int:
        return len(await _grant_batch(client, supply, plan))

    return work


def _cycling(client: LookupClient, supply: Iterator[tuple[int, int]], plan: Plan) -> Work:
    async def work() -> int:
        granted = await _grant_batch(client, supply, plan)
        begin = pb2.BatchBeginIssuancesRequest(request_id=secrets.token_hex(16))
        for _, _, lock in granted:
            begin.requests.add(name=lock.name, fencing_token=lock.fencing_token)
        await client.call(client.locks.BatchBeginIssuances, begin, timeout_s=TIMEOUT_S)
        commit = pb2.BatchCommitIssuancesRequest(request_id=secrets.token_hex(16))
        for project, month, lock in granted:
            one = commit.requests.add(
                name=lock.name, fencing_token=lock.fencing_token, native_issuance_id=f"{project}-{month}"
            )
            one.blocks.add(series=project, start=month, end=month)
        response = await client.call(client.locks.BatchCommitIssuances, commit, timeout_s=TIMEOUT_S)
        return sum(result.HasField("lock") for result in response.results)

    return work


def _single(client: LookupClient, supply: Iterator[tuple[int, int]]) -> Work:
    async def work() -> int:
        request = pb2.AcquireIssuanceLockRequest()
        _fill(request, *next(supply))
        request.request_id = secrets.token_hex(16)
        await client.call(client.locks.AcquireIssuanceLock, request, timeout_s=TIMEOUT_S)
        return 1

    return work


class Meter:
    """Notes how many cores each side kept busy while a phase ran."""

    def __init__(self, server: asyncio.subprocess.Process, engine: AsyncEngine) -> None:
        self._server, self._engine = server, engine
        self._spent: dict[str, defaultdict[str, float]] = {}
        self.busy: dict[str, dict[str, float]] = {}

    async def __call__(self, phase: str, work: Awaitable[float]) -> float:
        """Run the phase."""
        before, started = await self._used(), time.monotonic()
        figure = await work
        spent = self._spent.setdefault(phase, defaultdict(float))
        spent["elapsed"] += time.monotonic() - started
        after = await self._used()
        for side in after:
            spent[side] += after[side] - before[side]
        self.busy[phase] = {side: round(spent[side] / spent["elapsed"], 2) for side in after}
        return figure

    async def _used(self) -> dict[str, float]:
        async with self._engine.connect() as connection:
            rows = await connection.execute(text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()"))
            backends = [pid for (pid,) in rows if is_process(pid, "postgres")]
        served = [self._server.pid, *children_of(self._server.pid)]
        times = time.process_time()
        return {"lookup": sum(map(cpu_s, served)), "database": sum(map(cpu_s, backends)), "client": times}


@asynccontextmanager
async def served_lookup(url: str, folder: Path, plan: Plan) -> AsyncIterator[tuple[LookupClient, Meter]]:
    """A lookup of its own process, with mutual TLS."""
    make_authority(folder)
    own = issue_certificate(folder, Caller(Role.OPERATOR, "lookup"), valid_for=timedelta(days=1))
    tls: TlsFiles = issue_certificate(folder, Caller(Role.REGISTRY, "gec"), valid_for=timedelta(days=1))
    arguments = [
        "--database-url", url, "--listen", "127.0.0.1:0", "--workers", str(plan.workers),
        "--pool-size", str(max(1, plan.connections // plan.workers)),
        "--authority", str(own.authority), "--certificate", str(own.certificate), "--key", str(own.key),
    ]  # fmt: skip
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "soleclaim.cmd.main", "lookup", "serve", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    engine = create_async_engine(url, pool_size=1)
    try:
        if server.stdout is None:
            raise AssertionError("no pipe")
        line = (await asyncio.wait_for(server.stdout.readline(), TIMEOUT_S)).decode()
        if not line.startswith("listening on "):
            raise RuntimeError("the lookup did not start; try `soleclaim lookup serve` by hand to see why")
        async with LookupClient(line.removeprefix("listening on ").strip(), tls) as client:
            yield client, Meter(server, engine)
    finally:
        await engine.dispose()
        if server.returncode is None:
            server.terminate()
            await server.wait()
