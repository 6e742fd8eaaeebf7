"""``soleclaim lookup``: the central lookup."""

import asyncio
import gc
import logging
import multiprocessing
import signal
import socket
import tomllib
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from soleclaim.cmd.options import HostPort

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from soleclaim.lookup.store.base import SqlLookupStore
    from soleclaim.policy.bundle import Bundle

SWEEP_EVERY_S: Final = 1.0
SWEEP_LIMIT: Final = 1000
START_WITHIN_S: Final = 60.0
_LOG = logging.getLogger(__name__)
_CONFIG_KEYS: Final = {
    "database_url", "listen", "authority", "certificate", "key", "workers", "metrics_port", "reflection",
    "policy_bundle", "pool_size",
}  # fmt: skip
"""Keys of the configuration file: the long options with underscores."""


@dataclass(frozen=True, slots=True)
class LookupOptions:
    """How to serve the lookup."""

    database_url: str
    listen: tuple[str, int]
    authority: Path | None
    certificate: Path | None
    key: Path | None
    insecure_loopback: bool
    workers: int
    metrics_port: int | None
    reflection: bool
    policy_bundle: Path | None
    pool_size: int


def _read_config(context: click.Context, _param: click.Parameter, value: Path | None) -> None:
    """Take the options from a TOML file; what stands on the command line wins. Names every fault at once."""
    if value is None:
        return
    try:
        given = tomllib.loads(value.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.UsageError(f"{value}: cannot be read as TOML in UTF-8: {error}") from error
    unknown = sorted(set(given) - _CONFIG_KEYS)
    if unknown:
        raise click.UsageError(
            f"{value}: unknown key(s) {', '.join(unknown)}; known are {', '.join(sorted(_CONFIG_KEYS))}"
        )
    context.default_map = {**(context.default_map or {}), **{name: str(each) for name, each in given.items()}}


@click.group()
def lookup() -> None:
    """The central lookup: one identifier per activity, one issuance lock per outcome."""


_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@lookup.command()
@click.option("--config", type=_FILE, is_eager=True, expose_value=False, callback=_read_config, help="TOML file.")
@click.option("--database-url", required=True, help="sqlite+aiosqlite:///FILE or postgresql+psycopg://USER@HOST/DB.")
@click.option("--listen", type=HostPort(), default="127.0.0.1:7400", show_default=True, help="Port 0 takes a free one.")
@click.option("--authority", type=_FILE, help="Certificate of the authority of both sides (PEM).")
@click.option("--certificate", type=_FILE, help="The lookup's certificate (PEM).")
@click.option("--key", type=_FILE, help="Private key of the certificate (PEM).")
@click.option("--insecure-loopback", is_flag=True, help="Plaintext on a loopback address, without any certificate.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes on the port.")
@click.option(
    "--metrics-port", type=click.IntRange(1, 65_535), help="Prometheus metrics on loopback; not with workers."
)
@click.option("--reflection", is_flag=True, help="Serve gRPC reflection to operators.")
@click.option("--policy-bundle", type=_FILE, help="Rules in force; the one that comes with the program by default.")
@click.option("--pool-size", type=click.IntRange(1, 64), default=8, show_default=True, help="Connections a process.")
def serve(**options: Any) -> None:  # noqa: ANN401  click's own calling convention
    """Serve until SIGTERM; prints one line, `listening on HOST:PORT`, when ready."""
    chosen = LookupOptions(**options)
    files = (chosen.authority, chosen.certificate, chosen.key)
    if chosen.insecure_loopback == any(files) or (any(files) and not all(files)):
        raise click.UsageError("give --authority, --certificate and --key, or --insecure-loopback without them")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if chosen.workers == 1:
        asyncio.run(_serve_one(chosen, chosen.listen, lambda address: click.echo(f"listening on {address}")))
    else:
        _serve_many(chosen)


async def _serve_one(options: LookupOptions, listen: tuple[str, int], ready: Callable[[str], None]) -> None:
    """One process: open the store, serve, sweep, stop in order."""
    from soleclaim.lookup.grpc.server import lookup_services
    from soleclaim.lookup.store import open_store
    from soleclaim.rpc.server import RpcServer, ServerOptions
    from soleclaim.rpc.tls import TlsFiles

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    bundle = _bundle(options.policy_bundle)
    tls = None
    if options.authority and options.certificate and options.key:
        tls = TlsFiles(options.authority, options.certificate, options.key)
    async with AsyncExitStack() as stack:
        _LOG.info("policy bundle %s, %s; registries: %s", bundle.version, bundle.hash, ", ".join(bundle.registries))
        store = await open_store(options.database_url, bundle, pool_size=options.pool_size)
        stack.push_async_callback(store.close)
        server = RpcServer(
            ServerOptions(
                host=listen[0],
                port=listen[1],
                tls=tls,
                plaintext_on_loopback=options.insecure_loopback,
                reflection=options.reflection,
                share_port=options.workers > 1,
            ),
            lookup_services(store, bundle),
        )
        port = await server.start()
        stack.push_async_callback(server.stop)
        sweeper = asyncio.create_task(_sweep(store))
        stack.callback(sweeper.cancel)
        if options.metrics_port and options.workers == 1:
            _serve_metrics(options.metrics_port, stack)
        _spare_the_collector()
        ready(f"{listen[0]}:{port}")
        await stop.wait()


def _spare_the_collector() -> None:
    """Collect garbage seldom: a batch makes objects by the ten thousand and they end with it, without cycles.

    What start-up made lives as long as the process; it is not looked through again. A quarter of a batch's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _bundle(path: Path | None) -> "Bundle":
    from soleclaim.policy.bundle import BundleFault, default_bundle, read_bundle

    if path is None:
        return default_bundle()
    try:
        return read_bundle(path.read_bytes())
    except BundleFault as error:
        raise click.UsageError(f"{path}: {error}") from error


async def _sweep(store: "SqlLookupStore") -> None:
    """Expire stale locks, so that history and lists tell it; a grant would expire those in its way by itself."""
    from soleclaim.core.errors import DomainError

    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        try:
            while await store.expire_stale(limit=SWEEP_LIMIT) == SWEEP_LIMIT:
                pass
        except DomainError as error:
            _LOG.warning("the sweep of stale locks could not run, trying on: %s", error)


def _serve_metrics(port: int, stack: AsyncExitStack) -> None:
    from prometheus_client import start_http_server

    server, thread = start_http_server(port, "127.0.0.1")
    stack.callback(thread.join, 5)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)


def _serve_many(options: LookupOptions) -> None:
    """Spawned processes on one port; each has its own store connections, and none holds state another needs.

    This process only holds the port's number, so that 0 becomes the same free port for all, and ends all together.
    """
    host, port = options.listen
    asyncio.run(_try_to_start(options))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as holder:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # Another lookup with workers shares its port with whoever asks: only a bind that shares none tells.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind((host, port))
        except OSError as error:
            raise click.ClickException(f"{host}:{port} cannot be bound: {error.strerror}; take another port") from error
        port = holder.getsockname()[1]
        spawn = multiprocessing.get_context("spawn")
        started = spawn.Queue()
        workers = [
            spawn.Process(target=_work, args=(options, (host, port), started), name=f"worker-{i}")
            for i in range(options.workers)
        ]
        for worker in workers:
            worker.start()
        _oversee(workers, started, f"{host}:{port}")


async def _try_to_start(options: LookupOptions) -> None:
    """Meet here, once and in words, what would end every worker at its start."""
    from soleclaim.lookup.store import open_store
    from soleclaim.rpc.tls import TlsFiles, load

    bundle = _bundle(options.policy_bundle)
    if options.authority and options.certificate and options.key:
        load(TlsFiles(options.authority, options.certificate, options.key))
    store = await open_store(options.database_url, bundle, pool_size=1)
    await store.close()


def _work(options: LookupOptions, listen: tuple[str, int], started: Any) -> None:  # noqa: ANN401  a multiprocessing queue
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s %(message)s")
    asyncio.run(_serve_one(options, listen, started.put))


def _oversee(workers: "Sequence[BaseProcess]", started: Any, address: str) -> None:  # noqa: ANN401  a multiprocessing queue
    """Say when all serve; when one ends, or a signal comes, end all."""
    from multiprocessing.connection import wait

    def stop(*_: object) -> None:
        raise SystemExit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    failed = False
    try:
        ready = 0
        while ready < len(workers):
            if not wait([started._reader, *(each.sentinel for each in workers)], timeout=START_WITHIN_S):  # noqa: SLF001
                raise click.ClickException(f"the workers did not start within {START_WITHIN_S:.0f} s")
            if any(not each.is_alive() for each in workers):
                break
            started.get()
            ready += 1
        else:
            click.echo(f"listening on {address}")
        wait([each.sentinel for each in workers])
        failed = True
    finally:
        for each in workers:
            if each.is_alive():
                each.terminate()
        for each in workers:
            each.join(15)
            if each.is_alive():
                each.kill()
        with suppress(OSError):
            started.close()
    if failed:
        raise click.ClickException("a worker ended; all were ended with it")
