"""The stack of ``deploy/compose.yaml`` under a project name of its own, and what tests do to its containers."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from soleclaim.api.lookup.v1 import registry_directory_service_pb2 as directory_pb
from soleclaim.client import LookupClient, RegistryClient, RemoteUnavailable, TlsFiles
from soleclaim.demo.plants import Plant, load_plants
from soleclaim.demo.stage import Stage
from soleclaim.parts.examples import EXAMPLES
from soleclaim.parts.stand_ins import NativeSystem

TOP: Final = Path(__file__).parents[2]
DEPLOY: Final = TOP / "deploy"
FAILPOINT_FILE: Final = Path(__file__).with_name("failpoint.yaml")
IMAGE: Final = "soleclaim:test"
PROJECT: Final = "soleclaim-test-"
"""Followed by the process id, so that leftovers of a run that was killed can be told from a run under way."""

PLANTS: Final = load_plants(12)
"""Known to both registries and the lookup from the start."""

FURTHER: Final = ("cea", "phcer", "eur-hen", "gp-bj", "panda")
"""Registries of the profile ``all``."""

START_LIMIT_S: Final = 300.0
COMMAND_LIMIT_S: Final = 120.0
PORTS: Final = (
    "LOOKUP_PORT",
    "CCER_PORT",
    "CCER_METRICS_PORT",
    "CCER_SANDBOX_PORT",
    "GEC_PORT",
    "GEC_METRICS_PORT",
    "GEC_SANDBOX_PORT",
    "CEA_PORT",
    "CEA_SANDBOX_PORT",
    "PHCER_PORT",
    "PHCER_SANDBOX_PORT",
    "EUR_HEN_PORT",
    "EUR_HEN_SANDBOX_PORT",
    "GP_BJ_PORT",
    "GP_BJ_SANDBOX_PORT",
    "PANDA_PORT",
)
# Shorter than in operation, so that what must be waited out in doubt takes seconds.
NATIVE_TIMES: Final = "timeout_s = 3\nlongest_under_way_s = 5\nsend_within_s = 15\n"
LOOKUP_TIMES: Final = "timeout_s = 4\n"
LEASE_TTL_S: Final = 6.0
OTHER_TIMES: Final = f"\n[lease]\nttl_s = {LEASE_TTL_S:g}\nrenew_every_s = 1.5\n\n[recovery]\nlongest_pause_s = 2\n"


def run(*command: str | Path, environment: dict[str, str] | None = None, limit_s: float = COMMAND_LIMIT_S) -> str:
    """Standard output of a command that must succeed; all it said is in the error when it does not."""
    result = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=limit_s,
        env={**os.environ, **(environment or {})},
    )
    if result.returncode != 0:
        said = f"{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
        raise AssertionError(f"{' '.join(map(str, command))}: exit code {result.returncode}\n{said}")
    return result.stdout


@dataclass
class Stack:
    """A running stack. ``folder`` holds its secrets and configuration."""

    folder: Path
    image: str
    """Its id: the tag may pass to another run."""
    postgres_image: str
    project: str = f"{PROJECT}{os.getpid()}"
    ports: dict[str, int] = field(default_factory=dict)
    """By the names in ``PORTS``; fixed for the life of the stack, a container that comes back has its old one."""

    def prepare(self) -> None:
        """Secrets as ``make-secrets`` makes them, configuration as deployed but for shorter times."""
        self.ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        config = self.folder / "config"
        shutil.copytree(DEPLOY / "config", config)
        for path in config.glob("*.toml"):
            if path.stem == "lookup":
                continue
            text = path.read_text()
            text = text.replace("[native]\n", f"[native]\n{NATIVE_TIMES}").replace(
                "[lookup]\n", f"[lookup]\n{LOOKUP_TIMES}"
            )
            text = text.replace("report_every_s = 10\n", "report_every_s = 1\n")
            path.write_text(text + OTHER_TIMES)
        run(DEPLOY / "make-secrets", environment=self._environment)

    def compose(self, *arguments: str, files: tuple[Path, ...] = (), limit_s: float = COMMAND_LIMIT_S) -> str:
        """Run Compose on the stack; ``files`` are laid over the deployed one."""
        options = [word for path in (DEPLOY / "compose.yaml", *files) for word in ("--file", str(path))]
        command = (*_compose_command(), *options, "--project-name", self.project, *arguments)
        return run(*command, environment=self._environment, limit_s=limit_s)

    def up(self) -> None:
        """Start everything and wait until the adapters may issue."""
        self.compose("up", "--detach", limit_s=START_LIMIT_S)
        for registry in ("ccer", "gec"):
            self.wait_until_active(registry)

    def add_further(self) -> None:
        """Start the registries of the profile ``all``."""
        run(DEPLOY / "make-secrets", *FURTHER, environment=self._environment)
        self.compose("--profile", "all", "up", "--detach", limit_s=START_LIMIT_S)

    def remove_further(self) -> None:
        """Remove their containers, which would be a burden to later tests; what they left at the lookup stays."""
        for container in self.containers():
            config: Any = container["Config"]
            if config["Labels"]["com.docker.compose.service"].startswith((*FURTHER, "all-")):
                run("docker", "rm", "--force", str(container["Id"]))

    def down(self) -> None:
        """Remove containers, networks and volumes, paused and cut off ones included."""
        remove(self.project)

    def container(self, service: str) -> str:
        """Id of a service's container."""
        found = _labelled("ps", self.project, "--all", "--filter", f"label=com.docker.compose.service={service}")
        assert len(found) == 1, f"{service}: {found}"
        return found[0]

    def containers(self) -> list[dict[str, object]]:
        """What the engine says of every container of the stack."""
        described: list[dict[str, object]] = json.loads(
            run("docker", "inspect", *_labelled("ps", self.project, "--all"))
        )
        return described

    def logs(self) -> str:
        """The last lines of all containers."""
        return self.compose("logs", "--no-color", "--tail", "30")

    def wait_until_active(self, registry: str, *, limit_s: float = START_LIMIT_S) -> None:
        """Wait until the adapter holds its journal's lease: from then on it issues."""
        url = f"http://127.0.0.1:{self.ports[f'{registry.upper()}_METRICS_PORT']}/metrics"
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            with contextlib.suppress(httpx.TransportError):
                if (
                    f'soleclaim_registry_active{{registry="{registry}"}} 1.0'
                    in httpx.get(url, timeout=2, trust_env=False).text
                ):
                    return
            time.sleep(0.2)
        raise AssertionError(f"adapter {registry} did not become active within {limit_s:.0f} s")

    def check(self, service: str = "check") -> dict[str, object]:
        """The report of ``soleclaim check`` over all stores and native systems; an error unless all of it holds."""
        report: dict[str, object] = json.loads(self.compose("run", "--rm", service, "--json"))
        return report

    @contextlib.asynccontextmanager
    async def stage(self, name: str, plants: tuple[Plant, ...]) -> AsyncIterator[Stage]:
        """Clients of everything, for the acts of the demo."""
        async with contextlib.AsyncExitStack() as stack:
            lookup = {
                registry: await stack.enter_async_context(LookupClient(self.address("lookup"), self.identity(registry)))
                for registry in ("ccer", "gec")
            }
            adapters = {
                registry: await stack.enter_async_context(RegistryClient(self.address(registry), self.identity("desk")))
                for registry in ("ccer", "gec")
            }
            natives = {registry: self.native(registry).desk_url for registry in ("ccer", "gec")}
            await _until_in_directory(lookup["ccer"])
            yield Stage(run=name, plants=plants, lookup=lookup, adapters=adapters, natives=natives)

    def native(self, registry: str) -> NativeSystem:
        """The stand-in of a registry, as it is reached from this machine."""
        url = f"http://{self.address(f'{registry}-sandbox')}"
        return NativeSystem(EXAMPLES[registry], url, url)

    def address(self, part: str) -> str:
        """Where the lookup, the adapter of a registry, or ``CODE-sandbox`` is on this machine."""
        port = f"{part.upper().replace('-', '_')}_PORT"
        return f"127.0.0.1:{self.ports[port]}"

    def identity(self, part: str) -> TlsFiles:
        """The files of a part, or of ``desk``, the operator."""
        folder = self.folder / "secrets" / part
        return TlsFiles(folder / "authority.crt", folder / "certificate.crt", folder / "key")

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "SOLECLAIM_IMAGE": self.image,
            "POSTGRES_IMAGE": self.postgres_image,
            "SOLECLAIM_SECRETS": str(self.folder / "secrets"),
            "SOLECLAIM_CONFIG": str(self.folder / "config"),
            **{name: str(port) for name, port in self.ports.items()},
        }


async def _until_in_directory(lookup: LookupClient) -> None:
    """Wait until the lookup answers and each adapter can find the other."""
    async with asyncio.timeout(START_LIMIT_S):
        while True:
            with contextlib.suppress(RemoteUnavailable):
                answer = await lookup.call(lookup.directory.ListRegistries, directory_pb.ListRegistriesRequest())
                states = {registry.name: registry.reachability for registry in answer.registries}
                if all(states[f"registries/{code}"] == directory_pb.REACHABILITY_REACHABLE for code in ("ccer", "gec")):
                    return
            await asyncio.sleep(0.5)


@dataclass(frozen=True)
class ContainerVictim:
    """Act 4's victim as a container (``soleclaim.demo.stage.Victim``)."""

    stack: Stack

    async def arm(self) -> None:
        """Make the CCER adapter's container anew, to be killed before its next commit."""
        await asyncio.to_thread(self._replace, FAILPOINT_FILE)

    async def wait_for_death(self) -> str:
        """How the container ended."""
        code = await asyncio.to_thread(run, "docker", "wait", self.stack.container("ccer-adapter"), limit_s=30)
        assert code.strip() == "137", code
        return "SIGKILL"

    async def revive(self) -> None:
        """Make it anew as deployed: its journal is all it has."""
        await asyncio.to_thread(self._replace)

    def _replace(self, *files: Path) -> None:
        self.stack.compose("up", "--detach", "--no-deps", "--force-recreate", "ccer-adapter", files=files)
        self.stack.wait_until_active("ccer")


def remove(project: str) -> None:
    """Remove all that carries the project's label, without asking Compose: nothing there may stop it."""
    if containers := _labelled("ps", project, "--all"):
        run("docker", "rm", "--force", "--volumes", *containers)
    for kind in ("network", "volume"):
        if found := _labelled(kind, project):
            run("docker", kind, "rm", *found)


def remove_leftovers() -> None:
    """Remove the stacks of test runs whose process is gone."""
    listed = run("docker", "ps", "--all", "--format", '{{.Label "com.docker.compose.project"}}')
    listed += run("docker", "network", "ls", "--format", '{{.Label "com.docker.compose.project"}}')
    for project in {line for line in listed.splitlines() if line.startswith(PROJECT)}:
        if not Path("/proc", project.removeprefix(PROJECT)).exists():
            remove(project)


def _labelled(kind: str, project: str, *more: str) -> list[str]:
    command = ("ps",) if kind == "ps" else (kind, "ls")
    return run("docker", *command, "--quiet", "--filter", f"label=com.docker.compose.project={project}", *more).split()


def _compose_command() -> tuple[str, ...]:
    return ("docker-compose",) if shutil.which("docker-compose") else ("docker", "compose")


def _free_ports(count: int) -> Iterator[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        yield from [probe.getsockname()[1] for probe in probes]
