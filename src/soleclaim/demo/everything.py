"""Every instrument there is a stand-in for, once: its registry issues, or it issues nothing and reports.

The lookup is a process; stand-ins and adapters run in this one, or there would be sixty. What is particular to a
registry stands in ``parts/registries.toml``.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from soleclaim.api.common.v1 import types_pb2
from soleclaim.api.lookup.v1 import settlement_service_pb2 as settlement_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as registry_pb
from soleclaim.client import LookupClient, RegistryClient, RemoteRefusal, TlsFiles
from soleclaim.core.errors import Reason
from soleclaim.core.identity import Caller, Role
from soleclaim.core.serials import UnitBlock
from soleclaim.db.engine import SQLITE
from soleclaim.demo.stage import DECLARATION, SETTLE_LIMIT_S, ActFailed, Line, Stage, refusal_of, repeated
from soleclaim.history import archive, rows
from soleclaim.history.run import take_over
from soleclaim.natives.civil import CHINA, period_of_days
from soleclaim.parts.configuration import migrate_store, tls_options
from soleclaim.parts.examples import EXAMPLES, Example, Filing, Result
from soleclaim.parts.process import SOLECLAIM, Part
from soleclaim.parts.stand_ins import NativeSystem, stand_in
from soleclaim.policy.bundle import default_bundle
from soleclaim.registry.config import AdapterConfig
from soleclaim.registry.instruments import INSTRUMENTS
from soleclaim.rpc.certs import issue_certificate, make_authority
from soleclaim.rpc.parse import to_interval

UNITS: Final = 1_234
"""Units measured of each example."""
AT_ONCE: Final = 4
"""Registries that are started and asked at the same time; the machine has a few cores, and thirty take turns."""
PATIENT_S: Final = 30.0
LONGEST_UNDER_WAY_S: Final = 20.0
CALL_LIMIT_S: Final = 60.0
REPORT_EVERY_S: Final = 2.0

Serve = Callable[[AdapterConfig, asyncio.Event, Callable[[str], None]], Awaitable[None]]
"""Serves an adapter until the event is set; tells the address once it answers."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What became of one instrument. ``units`` were issued; ``serials``: a range as the gateway keeps it, or ""."""

    example: Example
    instrument: str
    project: str
    units: int
    serials: str
    result: Line


class Everything:
    """The running parts. ``folder`` holds stores, logs and certificates."""

    def __init__(self, folder: Path, serve: Serve) -> None:
        self.folder = folder
        self.lookup_url = f"{SQLITE}:///{folder / 'lookup.db'}"
        self.journals = {code: f"{SQLITE}:///{folder / f'journal-{code}.db'}" for code in EXAMPLES}
        self.natives: dict[str, NativeSystem] = {}
        (folder / "logs").mkdir()
        self._serve = serve
        self._pki = folder / "certificates"
        make_authority(self._pki)
        self._operator = self._certificate(Caller(Role.OPERATOR, "demo"))
        options = ("--database-url", self.lookup_url, "--listen", "127.0.0.1:0")
        tls = tls_options(self._certificate(Caller(Role.OPERATOR, "lookup")))
        self.lookup = Part(
            "lookup", (*SOLECLAIM, "lookup", "serve", *options, *tls), self.folder / "logs" / "lookup.log"
        )
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._curtain = asyncio.Event()
        self._bundle = default_bundle()
        self._shown = {code: asyncio.get_running_loop().create_future() for code in EXAMPLES}
        self._blocks: dict[str, types_pb2.UnitBlock] = {}
        """The first range issued, by project."""

    def broken(self) -> list[Part]:
        """The lookup, where it ended by itself."""
        return [self.lookup] if self.lookup.ended is not None else []

    async def start(self, stack: AsyncExitStack) -> None:
        """The lookup; what runs is stopped by ``stack``."""
        # What adapters and stand-ins tell of themselves belongs to no terminal.
        handler = logging.FileHandler(self.folder / "logs" / "adapters.log", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        logging.getLogger().addHandler(handler)
        stack.callback(handler.close)
        stack.callback(logging.getLogger().removeHandler, handler)
        await asyncio.to_thread(migrate_store, "lookup", self.lookup_url)
        stack.push_async_callback(self.lookup.stop)
        await self.lookup.start()

    async def play(self, stack: AsyncExitStack, tell: Callable[[int, int], None]) -> list[Shown]:
        """Every registry in turn, a few at once; all of them stay until ``stack`` ends."""
        lookup = await stack.enter_async_context(LookupClient(self.lookup.address, self._operator))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(self._curtain.set)
        for example in EXAMPLES.values():
            group.create_task(self._show(example, lookup))
        for done, each in enumerate(asyncio.as_completed(self._shown.values()), start=1):
            await each
            tell(done, len(self._shown))
        return [each.result() for each in self._shown.values()]

    async def _show(self, example: Example, lookup: LookupClient) -> None:
        async with AsyncExitStack() as stack:
            if settles := self._bundle.registries[example.registry].settles:
                # What it settles must have been issued.
                await asyncio.shield(self._shown[settles])
            async with self._gate:
                native = await stack.enter_async_context(_stand_in(example, self.folder / "natives"))
                self.natives[example.registry] = native
                client = await stack.enter_async_context(self._adapter(native))
                self._shown[example.registry].set_result(await self._play(native, client, lookup))
            await self._curtain.wait()

    async def _play(self, native: NativeSystem, client: RegistryClient, lookup: LookupClient) -> Shown:
        """Its own project, and those of the exchanges that settle what it issues for them."""
        example = native.example
        guests = [
            each for each in EXAMPLES.values() if self._bundle.registries[each.registry].settles == example.registry
        ]
        filings = [_filing(each) for each in (example, *guests)]
        await native.fill(filings)
        try:
            issuances = [await _issued(client, example, *numbered) for numbered in enumerate(filings)]
        except RemoteRefusal as refusal:
            if refusal.reason is not Reason.REGISTRY_ISSUES_NOTHING:
                raise
            return await self._reported(native, lookup)
        self._blocks |= {issuance.native_project_id: issuance.blocks[0] for issuance in issuances}
        return Shown(
            example,
            issuances[0].instrument,
            filings[0].id,
            UNITS,
            _range(issuances[0].blocks[0]),
            Line("issued", "已签发"),
        )

    async def _reported(self, native: NativeSystem, lookup: LookupClient) -> Shown:
        """What a registry does that issues nothing: it settles, or tells of what it issued in its day."""
        example, filing = native.example, _filing(native.example)
        instrument = INSTRUMENTS[example.registry].code
        if filing.id in self._blocks:
            block = self._blocks[filing.id]
            await native.tell([example.settled(filing, block.series, block.start, block.end)])
            settled = await _settled(lookup, example.registry)
            line = Line(
                f"issues nothing; settled {settled.certificates:,} certificates that moved with power",
                f"不签发；结算随电力划转的绿证 {settled.certificates:,} 个",
            )
            return Shown(example, instrument, filing.id, 0, _range(settled.blocks[0]), line)
        tables = Path(unquote(urlsplit(native.url).path))
        report = await take_over(lookup, tables, example.registry, "archive", progress=lambda _: None)
        fitted = report.count("FITTED")
        if fitted != len(report.fates):
            raise ActFailed("everything", f"{example.registry}: {report.fates}", f"{example.registry}：{report.fates}")
        line = Line(f"issues nothing; {fitted} issuances of its day taken over", f"不签发；导入其历史签发 {fitted} 笔")
        return Shown(example, instrument, filing.id, 0, _serials(tables, example.registry), line)

    @asynccontextmanager
    async def _adapter(self, native: NativeSystem) -> AsyncIterator[RegistryClient]:
        """The adapter of a registry while the block lasts, and an operator's line to it."""
        code = native.example.registry
        await asyncio.to_thread(migrate_store, "journal", self.journals[code])
        stop, address = asyncio.Event(), asyncio.get_running_loop().create_future()
        serving = asyncio.ensure_future(self._serve(self._config(native), stop, address.set_result))
        try:
            await asyncio.wait({serving, address}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                await serving
            async with RegistryClient(address.result(), self._operator) as client:
                yield client
        finally:
            stop.set()
            await serving

    def _config(self, native: NativeSystem) -> AdapterConfig:
        code = native.example.registry
        tls = self._certificate(Caller(Role.REGISTRY, code))
        return AdapterConfig.model_validate(
            {
                "registry": {"code": code},
                "server": {"listen": "127.0.0.1:0", "grace_s": 1},
                "tls": {"authority": tls.authority, "certificate": tls.certificate, "key": tls.key},
                "journal": {"url": self.journals[code]},
                "lookup": {"target": self.lookup.address, "timeout_s": PATIENT_S},
                "native": {
                    **native.settings,
                    "timeout_s": PATIENT_S,
                    "longest_under_way_s": LONGEST_UNDER_WAY_S,
                },
                "lease": {"ttl_s": 60, "renew_every_s": 10},
                # The answers of registries that exchange files are looked for again and again.
                "recovery": {"first_pause_s": 0.3, "longest_pause_s": 2},
                "reporting": {"report_every_s": REPORT_EVERY_S},
            }
        )

    def _certificate(self, caller: Caller) -> TlsFiles:
        return issue_certificate(self._pki, caller)


@asynccontextmanager
async def open_everything(folder: Path, serve: Serve) -> AsyncIterator[Everything]:
    """The lookup, running until the block ends."""
    everything = Everything(folder, serve)
    async with AsyncExitStack() as stack:
        await everything.start(stack)
        yield everything


@asynccontextmanager
async def _stand_in(example: Example, folder: Path) -> AsyncIterator[NativeSystem]:
    """Started and ended beside the event loop: a web server takes its time to stop."""
    opened = stand_in(example, folder / example.registry)
    native = await asyncio.to_thread(opened.__enter__)
    try:
        yield native
    finally:
        await asyncio.to_thread(opened.__exit__, None, None, None)


def _filing(example: Example) -> Filing:
    return example.filing(1, [Result(example.desk.measured[0], UNITS)])


async def _issued(client: RegistryClient, example: Example, number: int, filing: Filing) -> registry_pb.Issuance:
    """Everything measured, issued; ``ActFailed`` when it is not, ``RemoteRefusal`` when nothing may be asked for."""
    request = registry_pb.RequestIssuanceRequest(
        request_id=f"everything-{example.registry}-{number}",
        native_project_id=filing.id,
        period=to_interval(period_of_days(*filing.results[0].days, CHINA)),
        declaration=DECLARATION,
    )
    first = await repeated(lambda: client.call(client.registry.RequestIssuance, request, timeout_s=CALL_LIMIT_S))
    stage = Stage("everything", (), {}, {example.registry: client}, {})
    issuance = await stage.settled(example.registry, first)
    if issuance.state != registry_pb.ISSUANCE_STATE_ISSUED or issuance.units != UNITS:
        why = refusal_of(issuance)
        raise ActFailed(
            "everything",
            f"{example.registry} did not issue {UNITS} units for {filing.id}: {why}",
            f"{example.registry} 未就 {filing.id} 签发 {UNITS} 个单位：{why.message_zh}",
        )
    return issuance


async def _settled(lookup: LookupClient, registry: str) -> settlement_pb.Settlement:
    """The exchange's line once its adapter has passed it on and the lookup finds nothing against it."""
    request = settlement_pb.ListSettlementsRequest(registry=registry, state=settlement_pb.SETTLEMENT_STATE_SETTLED)
    deadline = asyncio.get_running_loop().time() + SETTLE_LIMIT_S
    while asyncio.get_running_loop().time() < deadline:
        found = await repeated(lambda: lookup.call(lookup.settlements.ListSettlements, request))
        if found.settlements:
            return found.settlements[0]
        await asyncio.sleep(0.25)
    raise ActFailed(
        "everything",
        f"{registry}: its line is not settled after {SETTLE_LIMIT_S:.0f} s",
        f"{registry}：{SETTLE_LIMIT_S:.0f} 秒后其结算记录仍未确认",
    )


def _serials(tables: Path, registry: str) -> str:
    """The first serials of an archive."""
    read = (
        each.issued.blocks for each in archive.read(tables, registry) if isinstance(each, rows.Line) and each.issued
    )
    return next((_range(block) for blocks in read for block in blocks), "")


def _range(block: types_pb2.UnitBlock | UnitBlock) -> str:
    return f"{block.series} {block.start}–{block.end}"
