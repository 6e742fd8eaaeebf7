"""Every run that the tests look at, played once and several at a time: they mostly wait."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from soleclaim.conformance.cases import CASES
from soleclaim.conformance.model import Case
from soleclaim.conformance.play import play
from soleclaim.conformance.report import Report
from soleclaim.conformance.world import open_kind
from soleclaim.parts.examples import EXAMPLES
from soleclaim.parts.process import SOLECLAIM
from tests.conformance.wrong_adapter import FAULTS, VARIANTS

WRONG: Final = Path(__file__).with_name("wrong_adapter.py")
AT_ONCE: Final = 4
PLAYED: Final = sorted(
    {(each.family, each.exchange): code for code, each in reversed(EXAMPLES.items())}.values(),
    key=lambda code: EXAMPLES[code].by_files,
    reverse=True,
)
"""The first registry of each form of exchange in each family; those that wait for nights first."""
NAMES: Final = (*PLAYED, *reversed([*VARIANTS, *FAULTS]))

SHORT: Final = [case for case in CASES if case.category not in (7, 8)]
"""Without those that wait for time-outs and kills, for the faults that only the last categories can see."""


def _cases(fault: str) -> Sequence[Case]:
    return SHORT if fault in FAULTS and int(FAULTS[fault].caught_by.partition(".")[0]) > 8 else CASES


async def _run(gate: asyncio.Semaphore, folder: Path, registry: str, wrong: str = "") -> Report:
    program = (sys.executable, str(WRONG), wrong) if wrong else SOLECLAIM
    async with gate, open_kind(folder, EXAMPLES[registry], program=program) as stand:
        return Report(registry, stand.target, tuple(await play(stand, cases=_cases(wrong))))


async def _run_all(folder: Path) -> dict[str, Report | BaseException]:
    """Our own adapters by registry, the wrong ones by fault; the long ones first."""
    gate = asyncio.Semaphore(AT_ONCE)
    runs = (_run(gate, folder / name, *((name,) if name in PLAYED else ("ccer", name))) for name in NAMES)
    return dict(zip(NAMES, await asyncio.gather(*runs, return_exceptions=True), strict=True))


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report | BaseException]:
    """What became of each run."""
    folder = tmp_path_factory.mktemp("conformance")
    for name in NAMES:
        (folder / name).mkdir()
    return asyncio.run(_run_all(folder))
