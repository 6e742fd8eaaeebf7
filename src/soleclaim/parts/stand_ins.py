"""Stand-ins of native systems in threads of this process: filled by their desks, and as their clients see them."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import httpx

from soleclaim.parts.examples import Call, Example, Filing
from soleclaim.sandbox.server import running
from soleclaim.sandbox.stand_in import StandIn, StandInFault

NIGHT_S: Final = 0.1
"""An order by file waits so long for its night. There is a night for orders alone: what is read in between is whole."""
CALL_LIMIT_S: Final = 30.0
TOLD: Final = 500
"""Characters of a refusal that are told."""
_SECRET: Final = b"a secret of a stand-in"


@dataclass(frozen=True, slots=True)
class NativeSystem:
    """``desk_url``: where its desk and its faults are told. ``url``, ``key_id``, ``secret_file``: for its client."""

    example: Example
    desk_url: str
    url: str
    key_id: str | None = None
    secret_file: Path | None = None

    @property
    def settings(self) -> dict[str, str]:
        """What an adapter's section ``[native]`` says of it."""
        told = {"kind": self.example.family, "url": self.url, "key_id": self.key_id, "secret_file": self.secret_file}
        return {key: str(value) for key, value in told.items() if value is not None}

    async def fill(self, filings: Sequence[Filing]) -> None:
        """File projects at its desk; see ``tell``."""
        await self.tell(self.example.desk.fill(filings))

    async def tell(self, calls: Sequence[Call]) -> None:
        """Tell its desk; ``StandInFault`` when it says no."""
        if not calls:
            return
        async with httpx.AsyncClient(base_url=self.desk_url, timeout=CALL_LIMIT_S, trust_env=False) as http:
            for call in (*calls, *([Call("/night", {})] if self.example.by_files else [])):
                answer = await http.post(call.path, json=call.body)
                if answer.is_error:
                    raise StandInFault(
                        f"the stand-in of {self.example.registry} does not take POST {call.path}: HTTP"
                        f" {answer.status_code}, {answer.text[:TOLD]}; do its example in parts/registries.toml and its"
                        f" table in sandbox/{self.example.family}/registries.toml fit each other?"
                    )


@contextlib.contextmanager
def stand_in(example: Example, folder: Path) -> Iterator[NativeSystem]:
    """The stand-in of a registry while the block lasts; all that it keeps lies in ``folder``, which is made.

    A registry of which only tables are left has none: its tables are read where they lie. ``StandInFault`` when its
    example and its table do not fit each other.
    """
    if example.exchange == "tables":
        tables = Path(str(resources.files("soleclaim.sandbox"))) / example.family / example.registry
        yield NativeSystem(example, "", tables.as_uri())
        return
    folder.mkdir(parents=True, exist_ok=True)
    drop, secret_file = folder / "drop", folder / "secret"
    if example.by_files:
        drop.mkdir(exist_ok=True)
    if example.signed:
        secret_file.write_bytes(_SECRET)
    told = StandIn(
        folder / "native.db",
        example.registry,
        folder=drop if example.by_files else None,
        secret=_SECRET if example.signed else b"",
    )
    with contextlib.ExitStack() as stack:
        try:
            url = stack.enter_context(running(example.family, told))
        except StandInFault as fault:
            raise StandInFault(f"{fault}; its example says exchange = {example.exchange!r}") from fault
        if example.by_files:
            stack.enter_context(_nights(url, drop))
            yield NativeSystem(example, url, drop.as_uri())
        elif example.signed:
            yield NativeSystem(example, url, url, example.registry, secret_file)
        else:
            yield NativeSystem(example, url, url)


@contextlib.contextmanager
def _nights(url: str, drop: Path) -> Iterator[None]:
    """A night whenever an order waits, while the block lasts."""
    over = threading.Event()

    def watch() -> None:
        with httpx.Client(base_url=url, timeout=CALL_LIMIT_S, trust_env=False) as http:
            while not over.wait(NIGHT_S):
                if _orders_wait(drop):
                    http.post("/night", json={}).raise_for_status()

    thread = threading.Thread(target=watch, name="nights")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _orders_wait(drop: Path) -> bool:
    """Whether an order is handed over whole and not acknowledged."""
    orders = {path.name.partition(".")[0] for path in (drop / "to-registry").glob("order-*.sha256")}
    return any(not (drop / "from-registry" / f"ack-{order}.csv").exists() for order in orders)
