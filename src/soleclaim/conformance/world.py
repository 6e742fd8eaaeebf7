"""What the kit starts around the target: certificates, a lookup of its own, and for a known kind everything else."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as directory_pb
from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import LookupClient, RegistryClient, RemoteRefusal, RemoteUnavailable, TlsFiles
from soleclaim.conformance.families import NATIVE_TIMEOUT_S, UNDER_WAY_S, filings, fixture_of, peer_of
from soleclaim.conformance.fixture import CertificatePair, Certificates, Fixture
from soleclaim.conformance.native_side import NativeSide
from soleclaim.conformance.stand import Identities, Stand, Stoppable
from soleclaim.core.identity import Caller, Role
from soleclaim.db.engine import SQLITE
from soleclaim.parts.configuration import migrate_store, tls_options, write_toml
from soleclaim.parts.examples import Example
from soleclaim.parts.process import SOLECLAIM, Part, ProcessFailed, free_port
from soleclaim.parts.stand_ins import NativeSystem, stand_in
from soleclaim.rpc.certs import issue_certificate, make_authority

KIT: Final = "conformance"
"""What the kit is called in its certificates."""
PROBE_S: Final = 2.0
COMMAND_LIMIT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Everybody:
    """Certificates of the run. ``lookup`` and ``registry`` are for servers that the kit starts."""

    identities: Identities
    lookup: TlsFiles | None
    registry: TlsFiles | None


def make_certificates(pki: Path, folder: Path, *, registry: str, peer: str) -> Everybody:
    """Issue what is missing in ``pki`` from its authority, which is made when there is none."""
    if not (pki / "authority.crt").exists():
        make_authority(pki)
    return Everybody(
        identities=Identities(
            operator=_certificate(pki, Role.OPERATOR, KIT),
            stranger=_stranger(folder, pki / "authority.crt"),
            peer=_certificate(pki, Role.REGISTRY, peer),
            regulator=_certificate(pki, Role.REGULATOR, KIT),
        ),
        lookup=_certificate(pki, Role.OPERATOR, "lookup"),
        registry=_certificate(pki, Role.REGISTRY, registry),
    )


def _certificate(pki: Path, role: Role, code: str) -> TlsFiles:
    """The pair that is there, which somebody may be using, else a new one."""
    stem = pki / f"{role.value}-{code}"
    files = TlsFiles(pki / "authority.crt", stem.with_suffix(".crt"), stem.with_suffix(".key"))
    return files if files.certificate.exists() else issue_certificate(pki, Caller(role, code))


def given_certificates(given: Certificates, folder: Path) -> Everybody:
    """Those that the fixture names."""

    def files(pair: CertificatePair | None) -> TlsFiles | None:
        return TlsFiles(given.authority, pair.certificate, pair.key) if pair else None

    return Everybody(
        identities=Identities(
            operator=TlsFiles(given.authority, given.operator.certificate, given.operator.key),
            stranger=_stranger(folder, given.authority),
            peer=files(given.peer),
            regulator=files(given.regulator),
        ),
        lookup=files(given.lookup),
        registry=None,
    )


def _stranger(folder: Path, authority: Path) -> TlsFiles:
    """An operator's certificate of an authority that nobody knows."""
    elsewhere = folder / "stranger"
    make_authority(elsewhere)
    made = issue_certificate(elsewhere, Caller(Role.OPERATOR, KIT))
    # With its own authority in the chain our client takes the file; whoever trusts the other one must not.
    made.certificate.write_bytes(made.certificate.read_bytes() + made.authority.read_bytes())
    return TlsFiles(authority, made.certificate, made.key)


# -- What can be ended and started again -------------------------------------------------------------------------------


class OwnLookup:
    """A lookup on embedded SQLite, always at the same address."""

    def __init__(self, folder: Path, listen: str, tls: TlsFiles) -> None:
        self.address = listen
        self._url = f"{SQLITE}:///{folder / 'lookup.db'}"
        options = ("--database-url", self._url, "--listen", listen, *tls_options(tls))
        self._part = Part("lookup", (*SOLECLAIM, "lookup", "serve", *options), folder / "lookup.log")

    async def prepare(self) -> None:
        """Make its tables."""
        await asyncio.to_thread(migrate_store, "lookup", self._url)

    async def start(self) -> None:
        """See ``Stoppable``."""
        await self._part.start()

    async def kill(self) -> None:
        """See ``Stoppable``."""
        await self._part.kill()

    async def stop(self) -> None:
        """End it in order."""
        await self._part.stop()


class AdapterProcess:
    """The target as a process of the kit."""

    def __init__(self, part: Part, client: RegistryClient, patience_s: float) -> None:
        self._part = part
        self._client = client
        self._patience_s = patience_s

    async def start(self) -> None:
        """See ``Stoppable``; ``ProcessFailed`` when it ends or does not answer."""
        await self._part.spawn()
        await _until_adapter_answers(self._client, self._patience_s, self._part)

    async def kill(self) -> None:
        """See ``Stoppable``."""
        await self._part.kill()


class Commands:
    """A part ended and started by commands of its operator."""

    def __init__(
        self,
        name: str,
        kill: Sequence[str],
        restart: Sequence[str],
        until_answers: Callable[[], Awaitable[None]],
        *,
        log: Path,
    ) -> None:
        self._name = name
        self._commands = {"kill": tuple(kill), "restart": tuple(restart)}
        self._until_answers = until_answers
        self._log = log

    async def start(self) -> None:
        """See ``Stoppable``."""
        await self._run("restart")
        await self._until_answers()

    async def kill(self) -> None:
        """See ``Stoppable``."""
        await self._run("kill")

    async def _run(self, name: str) -> None:
        part = Part(f"[{self._name}] {name}", self._commands[name], self._log)
        await part.spawn()
        try:
            ended = await part.wait(COMMAND_LIMIT_S)
        except TimeoutError:
            await part.kill()
            raise ProcessFailed(f"{part.name} still ran after {COMMAND_LIMIT_S:.0f} s") from None
        if ended != "exit code 0":
            raise ProcessFailed(f"{part.name} ended with {ended}:\n{part.tail()}")


async def _until_adapter_answers(client: RegistryClient, patience_s: float, part: Part | None = None) -> None:
    """Wait until the target answers GetRegistry, with a refusal or not; ``ProcessFailed`` when it does not."""
    probe = partial(client.call, client.registry.GetRegistry, pb.GetRegistryRequest(), timeout_s=PROBE_S)
    await _until_answers(probe, f"adapter answers at {client.target}", patience_s, part)


async def _until_lookup_answers(client: LookupClient, patience_s: float) -> None:
    probe = partial(
        client.call, client.directory.ListRegistries, directory_pb.ListRegistriesRequest(), timeout_s=PROBE_S
    )
    await _until_answers(probe, f"lookup answers at {client.target}", patience_s)


async def _until_answers(
    probe: Callable[[], Awaitable[object]], what: str, patience_s: float, part: Part | None = None
) -> None:
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        try:
            await probe()
        except RemoteRefusal:
            return
        except RemoteUnavailable as error:
            if part is not None and part.ended is not None:
                raise ProcessFailed(f"the adapter ended with {part.ended}:\n{part.tail()}") from error
            if asyncio.get_running_loop().time() > deadline:
                tail = f":\n{part.tail()}" if part is not None else ""
                raise ProcessFailed(f"no {what}: {error}{tail}") from error
        else:
            return
        await asyncio.sleep(0.05)


# -- Worlds ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_kind(folder: Path, example: Example, *, program: Sequence[str] = SOLECLAIM) -> AsyncIterator[Stand]:
    """Stand-in, lookup and adapter of a known registry, on SQLite and loopback. ``program`` runs the adapter."""
    peer = peer_of(example).registry
    everybody = make_certificates(folder / "pki", folder, registry=example.registry, peer=peer)
    if everybody.lookup is None or everybody.registry is None:
        raise AssertionError("make_certificates makes them all")
    async with AsyncExitStack() as stack:
        native = stack.enter_context(stand_in(example, folder / "native"))
        lookup = OwnLookup(folder, f"127.0.0.1:{free_port()}", everybody.lookup)
        stack.push_async_callback(lookup.kill)
        journal = f"{SQLITE}:///{folder / 'journal.db'}"
        await asyncio.gather(lookup.prepare(), asyncio.to_thread(migrate_store, "journal", journal))
        await asyncio.gather(lookup.start(), native.fill(filings(example)))
        target = f"127.0.0.1:{free_port()}"
        config = folder / "adapter.toml"
        write_toml(config, adapter_sections(native, target, lookup.address, journal, everybody.registry))
        start = (*program, "adapter", "serve", "--registry", example.registry, "--config", str(config))
        fixture = fixture_of(native, start)
        yield await open_stand(stack, fixture, target, lookup.address, everybody, folder, own_lookup=lookup)


def adapter_sections(
    native: NativeSystem, listen: str, lookup: str, journal: str, tls: TlsFiles
) -> Mapping[str, Mapping[str, str | float]]:
    """Our adapter's configuration, with short times: the cases wait for each of them."""
    return {
        "registry": {"code": native.example.registry},
        "server": {"listen": listen, "grace_s": 1},
        "tls": {"authority": str(tls.authority), "certificate": str(tls.certificate), "key": str(tls.key)},
        "journal": {"url": journal},
        "lookup": {"target": lookup, "timeout_s": 3},
        "native": {
            **native.settings,
            "timeout_s": NATIVE_TIMEOUT_S,
            "longest_under_way_s": UNDER_WAY_S,
            "send_within_s": 3,
        },
        "lease": {"ttl_s": 2.0, "renew_every_s": 0.4},
        "recovery": {"poll_s": 0.2, "first_pause_s": 0.1, "longest_pause_s": 0.5},
    }


@asynccontextmanager
async def open_target(
    folder: Path, fixture: Fixture, target: str, *, pki: Path | None, lookup: str | None, lookup_listen: str
) -> AsyncIterator[Stand]:
    """A target that runs, or that the fixture tells how to start. ``lookup`` None: one of the kit's own."""
    everybody = (
        given_certificates(fixture.certificates, folder)
        if fixture.certificates and pki is None
        else make_certificates(pki or folder / "pki", folder, registry=fixture.registry, peer=fixture.peer.registry)
    )
    async with AsyncExitStack() as stack:
        own: OwnLookup | None = None
        if lookup is None:
            if everybody.lookup is None:
                raise ProcessFailed(
                    "the fixture's [certificates] name none for the kit's lookup; add lookup, or --lookup"
                )
            own = OwnLookup(folder, lookup_listen, everybody.lookup)
            stack.push_async_callback(own.kill)
            await own.prepare()
            await own.start()
        address = lookup or lookup_listen
        yield await open_stand(stack, fixture, target, address, everybody, folder, own_lookup=own)


async def open_stand(
    stack: AsyncExitStack,
    fixture: Fixture,
    target: str,
    lookup: str,
    everybody: Everybody,
    folder: Path,
    *,
    own_lookup: Stoppable | None,
) -> Stand:
    """Clients of everything, and the adapter started where the fixture says how."""
    who = everybody.identities
    operator = await stack.enter_async_context(RegistryClient(target, who.operator))
    adapter: Stoppable | None = None
    commands_log = folder / "commands.log"
    if fixture.adapter.start:
        words = _filled(fixture.adapter.start, target, lookup, everybody.registry)
        part = Part("adapter", words, folder / "adapter.log")
        stack.push_async_callback(part.kill)
        adapter = AdapterProcess(part, operator, fixture.patience_s)
        await adapter.start()
    elif fixture.adapter.kill:
        answers = partial(_until_adapter_answers, operator, fixture.patience_s)
        adapter = Commands("adapter", fixture.adapter.kill, fixture.adapter.restart, answers, log=commands_log)
    await _until_adapter_answers(operator, fixture.patience_s)
    lookup_client = await stack.enter_async_context(LookupClient(lookup, who.operator))
    stoppable_lookup = own_lookup
    if own_lookup is None and fixture.lookup is not None:
        answers = partial(_until_lookup_answers, lookup_client, fixture.patience_s)
        stoppable_lookup = Commands("lookup", fixture.lookup.kill, fixture.lookup.restart, answers, log=commands_log)
    stand = Stand(
        run=f"run-{secrets.token_hex(4)}",
        fixture=fixture,
        target=target,
        identities=who,
        operator=operator,
        lookup=lookup_client,
        native=NativeSide(fixture),
        adapter=adapter,
        stoppable_lookup=stoppable_lookup,
    )
    stack.push_async_callback(stand.native.close)
    if who.peer is not None:
        stand.peer = await stack.enter_async_context(RegistryClient(target, who.peer))
        stand.peer_lookup = await stack.enter_async_context(LookupClient(lookup, who.peer))
    if who.regulator is not None:
        stand.regulator = await stack.enter_async_context(RegistryClient(target, who.regulator))
    return stand


def _filled(words: Sequence[str], target: str, lookup: str, tls: TlsFiles | None) -> list[str]:
    values = {"{target}": target, "{lookup}": lookup}
    if tls is not None:
        values |= {"{authority}": str(tls.authority), "{certificate}": str(tls.certificate), "{key}": str(tls.key)}
    filled = []
    for word in words:
        for name, value in values.items():
            word = word.replace(name, value)  # noqa: PLW2901  one replacement after the other
        filled.append(word)
    return filled
