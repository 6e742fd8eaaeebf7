"""Each test starts in English."""

from collections.abc import Iterator

import pytest

from soleclaim.cmd import output


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    before = output._language.set("en")
    yield
    output._language.reset(before)
