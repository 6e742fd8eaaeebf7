"""Running stand-ins. One per module: the tests of a module use projects of their own."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from soleclaim.sandbox.server import running


def _client(kind: str, path: Path) -> Iterator[httpx.Client]:
    with (
        running(kind, path / "native.db") as url,
        httpx.Client(base_url=url, trust_env=False, verify=False, timeout=10) as http,  # noqa: S501  plain HTTP
    ):
        yield http


@pytest.fixture(scope="module")
def ccer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    yield from _client("ccer", tmp_path_factory.mktemp("ccer"))


@pytest.fixture(scope="module")
def gec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    yield from _client("gec", tmp_path_factory.mktemp("gec"))


@pytest.fixture(autouse=True)
def no_faults_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name in ("ccer", "gec"):
        if name in request.fixturenames:
            request.getfixturevalue(name).delete("/_faults").raise_for_status()
