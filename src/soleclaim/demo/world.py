"""The demo's world: lookup, two adapters and two native stand-ins as processes on loopback, with mutual TLS."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as directory_pb
from soleclaim.client import LookupClient, RegistryClient, TlsFiles
from soleclaim.core.identity import Caller, Role
from soleclaim.demo.databases import Databases
from soleclaim.demo.plants import Plant
from soleclaim.demo.stage import Stage
from soleclaim.parts.configuration import migrate_store, tls_options, write_toml
from soleclaim.parts.process import SOLECLAIM, Part, ProcessFailed
from soleclaim.rpc.certs import issue_certificate, make_authority

REGISTRIES: Final = ("ccer", "gec")
KILL_POINT: Final = "kill:registry.COMMIT.before"
"""Where act 4 ends the CCER adapter: its registry has issued, the lookup has not been told."""

SHORT_LEASE: Final[dict[str, str | float]] = {"ttl_s": 4.0, "renew_every_s": 1.0}
"""Of the one process that act 4 kills: whoever comes after it waits for the end of its lease."""
PATIENT_S: Final = 30.0
"""Time-outs on a machine that may be busy: a call given up is doubt, and doubt takes long to settle."""
LONGEST_UNDER_WAY_S: Final = 20.0
DEATH_LIMIT_S: Final = 30.0
DIRECTORY_LIMIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Identities:
    """Certificates made for the run."""

    lookup: TlsFiles
    registries: dict[str, TlsFiles]
    operator: TlsFiles


class World:
    """The running parts. ``folder`` holds stores, logs, configuration and certificates."""

    def __init__(self, folder: Path, databases: Databases) -> None:
        self.folder = folder
        self.databases = databases
        self.parts: dict[str, Part] = {}
        self._identities = _make_identities(folder / "certificates")
        for name in ("logs", "config", "natives"):
            (folder / name).mkdir()

    @property
    def natives(self) -> dict[str, str]:
        """Base URL of each native stand-in."""
        return {registry: f"http://{self.parts[f'sandbox-{registry}'].address}" for registry in REGISTRIES}

    async def start(self, stack: AsyncExitStack) -> None:
        """Start everything; what runs is stopped by ``stack``, adapters first."""
        sandboxes = [
            self._part(f"sandbox-{registry}", "sandbox", "serve", registry, *self._sandbox_options(registry))
            for registry in REGISTRIES
        ]
        lookup = self._part("lookup", "lookup", "serve", *self._lookup_options())
        for part in (*sandboxes, lookup):
            stack.push_async_callback(part.stop)
        async with asyncio.TaskGroup() as group:
            for part in sandboxes:
                group.create_task(part.start())
            group.create_task(self._migrate_and_start(lookup))
        adapters = [
            self._part(f"adapter-{registry}", "adapter", "serve", "--registry", registry, *self._config(registry))
            for registry in REGISTRIES
        ]
        for part in adapters:
            stack.push_async_callback(part.stop)
        async with asyncio.TaskGroup() as group:
            for part in adapters:
                group.create_task(part.start())

    async def stage(
        self, stack: AsyncExitStack, plants: tuple[Plant, ...], progress: Callable[[str, int, int], None]
    ) -> Stage:
        """Clients of everything, once the directory knows both adapters."""
        lookup = {
            registry: await stack.enter_async_context(LookupClient(self.parts["lookup"].address, tls))
            for registry, tls in self._identities.registries.items()
        }
        adapters = {
            registry: await stack.enter_async_context(
                RegistryClient(self.parts[f"adapter-{registry}"].address, self._identities.operator)
            )
            for registry in REGISTRIES
        }
        await _until_in_directory(lookup["ccer"])
        return Stage(
            run="demo", plants=plants, lookup=lookup, adapters=adapters, natives=self.natives, progress=progress
        )

    def broken(self) -> list[Part]:
        """Parts that ended by themselves, else those whose log tells of an error."""
        ended = [part for part in self.parts.values() if part.ended is not None]
        return ended or [part for part in self.parts.values() if part.has_errors()]

    # -- Act 4's victim: see ``stage.Victim`` -------------------------------------------------------------------

    async def arm(self) -> None:
        """Restart the CCER adapter with the fail-point set."""
        adapter = self.parts["adapter-ccer"]
        await adapter.stop()
        self._config("ccer", listen=adapter.address, lease=SHORT_LEASE)
        await adapter.start(environment={"SOLECLAIM_FAILPOINT": KILL_POINT})

    async def wait_for_death(self) -> str:
        """How it ended."""
        try:
            return await self.parts["adapter-ccer"].wait(DEATH_LIMIT_S)
        except TimeoutError:
            raise ProcessFailed("the CCER adapter was to be killed and still runs") from None

    async def revive(self) -> None:
        """Start it again at its port, as it was before act 4."""
        adapter = self.parts["adapter-ccer"]
        self._config("ccer", listen=adapter.address)
        await adapter.start()

    # -- Inside -------------------------------------------------------------------------------------------------

    def _part(self, name: str, *arguments: str) -> Part:
        self.parts[name] = Part(name, (*SOLECLAIM, *arguments), self.folder / "logs" / f"{name}.log")
        return self.parts[name]

    async def _migrate_and_start(self, lookup: Part) -> None:
        await asyncio.to_thread(self._migrate)
        await lookup.start()

    def _migrate(self) -> None:
        for name, url in self.databases.urls.items():
            migrate_store("lookup" if name == "lookup" else "journal", url)

    def _sandbox_options(self, registry: str) -> tuple[str, ...]:
        return ("--database", str(self.folder / "natives" / f"{registry}.db"), "--listen", "127.0.0.1:0")

    def _lookup_options(self) -> tuple[str, ...]:
        listen = ("--listen", "127.0.0.1:0")
        return ("--database-url", self.databases.lookup, *listen, *tls_options(self._identities.lookup))

    def _config(
        self, registry: str, *, listen: str = "127.0.0.1:0", lease: dict[str, str | float] | None = None
    ) -> tuple[str, str]:
        """Write the adapter's configuration file; the option that names it."""
        tls = self._identities.registries[registry]
        sections: dict[str, dict[str, str | float]] = {
            "registry": {"code": registry},
            "server": {"listen": listen},
            "tls": {"authority": str(tls.authority), "certificate": str(tls.certificate), "key": str(tls.key)},
            "journal": {"url": self.databases.journals[registry]},
            "lookup": {"target": self.parts["lookup"].address, "timeout_s": PATIENT_S},
            "native": {
                "kind": registry,
                "url": self.natives[registry],
                "timeout_s": PATIENT_S,
                "longest_under_way_s": LONGEST_UNDER_WAY_S,
            },
            "lease": lease or {},
        }
        path = self.folder / "config" / f"{registry}.toml"
        write_toml(path, sections)
        return ("--config", str(path))


@asynccontextmanager
async def open_world(folder: Path, databases: Databases) -> AsyncIterator[World]:
    """Everything running; all of it is ended when the block ends, whatever happened in it."""
    world = World(folder, databases)
    async with AsyncExitStack() as stack:
        await world.start(stack)
        yield world


def _make_identities(folder: Path) -> Identities:
    make_authority(folder)
    return Identities(
        lookup=issue_certificate(folder, Caller(Role.OPERATOR, "lookup")),
        registries={code: issue_certificate(folder, Caller(Role.REGISTRY, code)) for code in (*REGISTRIES, "arb")},
        operator=issue_certificate(folder, Caller(Role.OPERATOR, "demo")),
    )


async def _until_in_directory(lookup: LookupClient) -> None:
    deadline = asyncio.get_running_loop().time() + DIRECTORY_LIMIT_S
    while True:
        answer = await lookup.call(lookup.directory.ListRegistries, directory_pb.ListRegistriesRequest())
        reachable = {
            registry.name.removeprefix("registries/")
            for registry in answer.registries
            if registry.reachability == directory_pb.REACHABILITY_REACHABLE
        }
        if reachable.issuperset(REGISTRIES):
            return
        if asyncio.get_running_loop().time() > deadline:
            raise ProcessFailed(f"the directory knows {sorted(reachable)} and not both adapters")
        await asyncio.sleep(0.1)
