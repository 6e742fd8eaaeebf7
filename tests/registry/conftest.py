"""A stack of real parts for each module that asks for it, and the adapters that a test starts on it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from soleclaim.client import LookupClient
from tests.registry.stack import Process, Stack, open_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with open_stack(tmp_path_factory.mktemp("adapter")) as opened:
        yield opened


@pytest.fixture
def adapters() -> Iterator[list[Process]]:
    """Append what the test starts; it is stopped afterwards."""
    started: list[Process] = []
    yield started
    for each in started:
        if each.popen.poll() is None:
            each.stop()


@pytest.fixture
async def lookup(stack: Stack) -> AsyncIterator[LookupClient]:
    async with LookupClient(stack.lookup.target, stack.certificates["desk"]) as client:
        yield client
