"""Reconciling a paged list with its announced total."""

from dataclasses import replace

import pytest

from soleclaim.core.serials import UnitBlock
from soleclaim.natives.civil import CHINA, period_of_month
from soleclaim.natives.paging import reconciled
from soleclaim.registry.native import NativeIssuance, NativeUnavailable

Page = tuple[int, list[NativeIssuance]]


def issuance(number: int) -> NativeIssuance:
    return NativeIssuance(
        native_issuance_id=str(number),
        external_reference=f"lock-{number}:1",
        fencing_token=1,
        native_project_id="p",
        period=period_of_month("2025-03", CHINA),
        units=1,
        blocks=(UnitBlock("A", number, number),),
    )


async def walk(*pages: Page) -> list[str]:
    """The ids of a list that is served as these pages, and empty ones after them."""

    async def fetch(page: int) -> Page:
        return pages[page - 1] if page <= len(pages) else (pages[-1][0], [])

    return [found.native_issuance_id async for found in reconciled(fetch)]


async def test_empty_list_is_complete() -> None:
    assert await walk((0, [])) == []


async def test_list_that_grows_on_the_way_is_followed() -> None:
    assert await walk((2, [issuance(1)]), (3, [issuance(2)]), (3, [issuance(3)])) == ["1", "2", "3"]


async def test_row_that_moves_to_the_next_page_is_yielded_once() -> None:
    assert await walk((3, [issuance(1), issuance(2)]), (3, [issuance(2), issuance(3)])) == ["1", "2", "3"]


async def test_two_versions_of_one_issuance_are_no_answer() -> None:
    with pytest.raises(NativeUnavailable, match="issuance 1 is listed in two versions"):
        await walk((2, [issuance(1), replace(issuance(1), units=2)]))


async def test_of_two_versions_on_one_page_neither_is_taken_and_the_others_are() -> None:
    async def fetch(_: int) -> Page:
        return 4, [issuance(1), issuance(2), replace(issuance(1), units=2), issuance(3)]

    listed = reconciled(fetch)
    assert [(await anext(listed)).native_issuance_id for _ in range(2)] == ["2", "3"]
    with pytest.raises(NativeUnavailable, match="issuance 1 is listed in two versions"):
        await anext(listed)


async def test_more_rows_than_announced_are_no_answer() -> None:
    with pytest.raises(NativeUnavailable, match="1 issuances announced, 2 different"):
        await walk((1, [issuance(1), issuance(2)]), (3, [issuance(3)]))


async def test_a_total_that_falls_on_the_way_is_no_answer() -> None:
    with pytest.raises(NativeUnavailable, match="3 issuances announced, then 1"):
        await walk((3, [issuance(1)]), (1, [issuance(1)]))


async def test_fewer_rows_than_announced_are_no_answer() -> None:
    with pytest.raises(NativeUnavailable, match="3 issuances announced, 2 different"):
        await walk((3, [issuance(1)]), (3, [issuance(2)]), (3, []))


async def test_nothing_where_something_is_announced_is_no_answer() -> None:
    with pytest.raises(NativeUnavailable, match="1 issuances announced, 0 different"):
        await walk((1, []))
