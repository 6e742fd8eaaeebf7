"""Playing the cases: category by category, each only when the one before has passed."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import httpx

from soleclaim.api.registry.v1 import registry_service_pb2 as pb
from soleclaim.client import RemoteRefusal, RemoteUnavailable
from soleclaim.conformance.cases import CASES
from soleclaim.conformance.model import CATEGORIES, Case, Failed, Result, Skipped, Text, Verdict
from soleclaim.conformance.stand import Stand
from soleclaim.parts.process import ProcessFailed
from soleclaim.registry.native import NativeUnavailable

PATIENCES: Final = 4
"""A case may wait for several things in turn; after so many patiences of the fixture it is given up."""


async def play(
    stand: Stand, *, cases: Sequence[Case] = CASES, tell: Callable[[Result], None] = lambda _: None
) -> list[Result]:
    """Play all cases; ``tell`` is called with each result as it comes. Never raises for what the target does."""
    results: list[Result] = []
    broken: int | None = None
    for category in CATEGORIES:
        for case in (each for each in cases if each.category == category):
            result = _not_played(case, broken) if broken is not None else await _play(stand, case)
            results.append(result)
            tell(result)
        failed = any(each.verdict is Verdict.FAILED for each in results)
        broken = category if failed and broken is None else broken
        if category == 1 and broken is None:
            # What it says of itself decides which cases apply from here on.
            stand.info = await stand.operator.call(stand.operator.registry.GetRegistry, pb.GetRegistryRequest())
    return results


def passed(results: Sequence[Result]) -> bool:
    """Whether nothing failed."""
    return all(each.verdict is not Verdict.FAILED for each in results)


def _not_played(case: Case, broken: int) -> Result:
    text = CATEGORIES[broken]
    why = Text(f"category {broken} ({text.en}) did not pass", f"第 {broken} 类（{text.zh}）未通过")
    return Result(case, Verdict.NOT_PLAYED, why)


async def _play(stand: Stand, case: Case) -> Result:
    offers = stand.offers()
    missing = next((need for need in case.needs if need not in offers), None)
    if missing is not None:
        return Result(case, Verdict.SKIPPED, missing.value)
    began = time.monotonic()
    verdict, came_back = await _outcome(stand, case)
    return Result(case, verdict, came_back, time.monotonic() - began)


async def _outcome(stand: Stand, case: Case) -> tuple[Verdict, Text]:
    try:
        async with asyncio.timeout(PATIENCES * stand.fixture.patience_s):
            return Verdict.PASSED, await case.play(stand)
    except Skipped as skipped:
        return Verdict.SKIPPED, skipped.text
    except Failed as failed:
        return Verdict.FAILED, failed.text
    except RemoteRefusal as refusal:
        return Verdict.FAILED, Text(f"refused: {refusal}", f"被拒：{refusal.message_zh}")
    except TimeoutError:
        return Verdict.FAILED, Text("it did not come to an end", "未能结束")
    # ValueError: what came back is no serial, date or name of any kind.
    except (RemoteUnavailable, NativeUnavailable, httpx.HTTPError, ProcessFailed, ValueError) as error:
        told = f"{type(error).__name__}: {error}"
        return Verdict.FAILED, Text(told, told)
