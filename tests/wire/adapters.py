"""An adapter beside the lookup of these tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from soleclaim.client import RegistryClient
from soleclaim.cmd.adapter import serve_adapter
from soleclaim.core.identity import Caller, Role
from soleclaim.registry.config import load_config
from soleclaim.registry.sql_journal import migrate
from tests.wire.conftest import OPERATOR, Wire


@contextlib.asynccontextmanager
async def adapter(wire: Wire, folder: Path, code: str, kind: str, url: str) -> AsyncIterator[RegistryClient]:
    """An adapter that runs until the block ends, and an operator's line to it."""
    journal = f"sqlite+aiosqlite:///{folder / f'{code}.db'}"
    migrate(journal)
    files = wire.files(Caller(Role.REGISTRY, code))
    config = folder / f"{code}.toml"
    config.write_text(
        f"""
        [registry]
        code = "{code}"
        [server]
        listen = "127.0.0.1:0"
        [tls]
        authority = "{files.authority}"
        certificate = "{files.certificate}"
        key = "{files.key}"
        [journal]
        url = "{journal}"
        [lookup]
        target = "localhost:{wire.port}"
        [native]
        kind = "{kind}"
        url = "{url}"
        [reporting]
        report_every_s = 0.2
        """
    )
    stop, ready = asyncio.Event(), asyncio.Event()
    where: list[str] = []

    def told(address: str) -> None:
        where.append(address)
        ready.set()

    serving = asyncio.create_task(serve_adapter(load_config(config), stop, told))
    try:
        async with asyncio.timeout(30):
            await asyncio.wait({serving, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            await serving
        async with RegistryClient(where[0], wire.files(OPERATOR)) as client:
            yield client
    finally:
        stop.set()
        await serving
