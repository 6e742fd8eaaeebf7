"""``soleclaim adapter``: a registry's adapter."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from soleclaim.registry.config import AdapterConfig
    from soleclaim.registry.grpc.lookup_gateway import LookupGateway
    from soleclaim.registry.lease import LeaseKeeper
    from soleclaim.registry.lookup import Lookup
    from soleclaim.registry.native import NativeRegistry
    from soleclaim.registry.reporting import Report

ANNOUNCE_EVERY_S: Final = 10.0
"""The directory takes an adapter for unreachable after 30 seconds of silence."""

_LOG = logging.getLogger(__name__)


@click.group()
def adapter() -> None:
    """A registry's adapter: issues natively under an issuance lock, and answers other registries."""


@adapter.command()
@click.option("--registry", required=True, metavar="CODE", help="Code of the registry; must be the configuration's.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="TOML file; every key stands in soleclaim/registry/README.md.",
)
@click.option("--insecure-loopback", is_flag=True, help="Plaintext on a loopback address, without any certificate.")
def serve(registry: str, config_file: Path, insecure_loopback: bool) -> None:
    """Serve until SIGTERM; prints one line, `listening on HOST:PORT`, when ready."""
    from soleclaim.registry.config import ConfigFault, load_config

    config = load_config(config_file)
    if config.registry.code != registry:
        raise ConfigFault(f"{config_file} is of registry {config.registry.code}, not {registry}")
    if (config.tls is None) is not insecure_loopback:
        raise ConfigFault(f"{config_file}: give [tls], or leave it out and start with --insecure-loopback")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for noisy in ("alembic", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    asyncio.run(_serve_until_signalled(config))


async def _serve_until_signalled(config: "AdapterConfig") -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve_adapter(config, stop, lambda address: click.echo(f"listening on {address}"))


async def serve_adapter(config: "AdapterConfig", stop: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Wire all parts, serve until ``stop`` is set or a part fails for good, and stop in order."""
    from soleclaim.client import LookupClient
    from soleclaim.core.identity import Caller, Role
    from soleclaim.natives import NativeSettings, open_native
    from soleclaim.registry.desk import IssuanceDesk
    from soleclaim.registry.dry_run import IssuanceCheck
    from soleclaim.registry.grpc.lookup_gateway import LookupGateway
    from soleclaim.registry.grpc.peers import DirectoryPeers
    from soleclaim.registry.grpc.service import SERVICE, RegistryServicer
    from soleclaim.registry.lease import LeaseKeeper
    from soleclaim.registry.recovery import Recovery
    from soleclaim.registry.sql_journal import SqlJournal
    from soleclaim.registry.workflow import Tools
    from soleclaim.rpc.server import RpcServer, ServerOptions
    from soleclaim.rpc.tls import TlsFiles

    code, instrument = config.registry.code, config.registry.known_instrument()
    tls = TlsFiles(config.tls.authority, config.tls.certificate, config.tls.key) if config.tls else None
    caller = None if tls else Caller(Role.REGISTRY, code)
    host, _, port = config.server.listen.rpartition(":")
    async with AsyncExitStack() as stack:
        # Opened first, closed last: what the work under way needs until it is drained.
        journal = SqlJournal(config.journal.url, code)
        stack.push_async_callback(journal.close)
        await journal.require_schema()
        client = await stack.enter_async_context(LookupClient(config.lookup.target, tls, caller=caller))
        native = open_native(
            config.native.kind,
            NativeSettings(
                registry=code,
                url=config.native.url,
                timeout_s=config.native.timeout_s,
                longest_under_way_s=config.native.longest_under_way_s,
                ca_file=config.native.ca_file,
                key_id=config.native.key_id,
                secret_file=config.native.secret_file,
            ),
        )
        stack.push_async_callback(native.close)
        lookup = LookupGateway(client, code, instrument, timeout_s=config.lookup.timeout_s)
        tools = Tools(code, instrument, journal, lookup, native, config.limits())
        keeper = LeaseKeeper(journal, code, config.lease_times())
        stack.push_async_callback(keeper.release)
        await keeper.step()
        keeping = await stack.enter_async_context(_background(keeper.run()))
        desk = IssuanceDesk(tools, keeper)
        stack.push_async_callback(desk.drain, config.server.grace_s)
        recovery = Recovery(tools, keeper, desk, config.recovery_times())
        recovering = await stack.enter_async_context(_background(recovery.run()))
        peers = DirectoryPeers(client, code, tls, caller=caller, timeout_s=config.peers.timeout_s)
        servicer = RegistryServicer(tools, desk, IssuanceCheck(tools, peers))
        server = RpcServer(
            ServerOptions(
                host=host.strip("[]"),
                port=int(port),
                tls=tls,
                plaintext_on_loopback=tls is None,
                reflection=config.server.reflection,
                grace_s=config.server.grace_s,
            ),
            [(SERVICE, servicer.register)],
        )
        bound = await server.start()
        stack.push_async_callback(server.stop)
        _serve_metrics(config, stack)
        endpoint = config.server.advertised or f"{host}:{bound}"
        announcing = await stack.enter_async_context(_background(_announce(lookup, keeper, endpoint)))
        reporting = [
            await stack.enter_async_context(_background(report.run()))
            for report in _reports(config, native, lookup, keeper)
        ]
        ready(f"{host}:{bound}")
        await _until_stopped(stop, keeping, recovering, announcing, *reporting)
        _LOG.info("registry %s: stopping", code)


async def _until_stopped(stop: asyncio.Event, *parts: asyncio.Task[None]) -> None:
    """Return when told to stop; raise what ended a part that should not end."""
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait({stopping, *parts}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    for task in done:
        await task


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """A task that is cancelled at the end of the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


async def _announce(lookup: "Lookup", keeper: "LeaseKeeper", endpoint: str) -> None:
    """Tell the directory, while this process is the active one; a twin that stands by must not take its place."""
    from soleclaim.registry.lookup import LookupUnavailable

    answered = True
    while True:
        if keeper.active:
            try:
                await lookup.announce(endpoint)
                answered = True
            except LookupUnavailable as error:
                if answered:
                    _LOG.warning("the directory did not take the announcement, trying on: %s", error)
                answered = False
        await asyncio.sleep(ANNOUNCE_EVERY_S)


def _reports(
    config: "AdapterConfig", native: "NativeRegistry", lookup: "LookupGateway", keeper: "LeaseKeeper"
) -> "list[Report[Any]]":
    """What passes on to the lookup what the native registry knows of: coverage, settlements."""
    from soleclaim.registry.native import CoverageSource, SettlingRegistry
    from soleclaim.registry.reporting import CoverageReport, SettlementReport

    code, every_s = config.registry.code, config.reporting.report_every_s
    reports: list[Report[Any]] = []
    if isinstance(native, CoverageSource):
        reports.append(CoverageReport(code, native, lookup, keeper, every_s=every_s))
    if isinstance(native, SettlingRegistry):
        reports.append(SettlementReport(code, native, lookup, keeper, every_s=every_s))
    return reports


def _serve_metrics(config: "AdapterConfig", stack: AsyncExitStack) -> None:
    if config.metrics is None:
        return
    from prometheus_client import start_http_server

    host, _, port = config.metrics.listen.rpartition(":")
    server, thread = start_http_server(int(port), host.strip("[]"))
    stack.callback(thread.join, 5)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
