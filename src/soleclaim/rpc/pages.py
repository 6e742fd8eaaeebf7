"""Pages of lists: how many items are asked for, and how many a message takes."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from google.protobuf.message import Message

from soleclaim.rpc.limits import MAX_MESSAGE_BYTES
from soleclaim.rpc.parse import Faults, encode_page_token, query_hash

DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 1000
MAX_PAGE_BYTES: Final = MAX_MESSAGE_BYTES * 3 // 4

M = TypeVar("M", bound=Message)
Row = TypeVar("Row")


class PageAsked(NamedTuple):
    """Which page of a list is asked for. ``after``: the number of the row before it; 0: the first page."""

    limit: int
    query: str
    after: int

    def cut(self, messages: list[M], rows: Sequence[Row], number_of: Callable[[Row], int]) -> tuple[list[M], str]:
        """What fits of the messages of ``rows``, one each, and the token of the next page; empty: there is none."""
        page = fitting(messages)
        is_last = len(page) == len(rows) < self.limit
        return page, "" if is_last else encode_page_token(self.query, number_of(rows[len(page) - 1]))


def page_asked(request: Any, faults: Faults) -> PageAsked:  # noqa: ANN401  any List request
    """By its ``page_size`` and ``page_token``."""
    query = query_hash(request)
    limit = page_size(request.page_size, faults)
    return PageAsked(limit, query, faults.page_token("page_token", request.page_token, query) or 0)


def page_size(requested: int, faults: Faults) -> int:
    """Items of a page."""
    return faults.number("page_size", requested, minimum=0, maximum=MAX_PAGE) or DEFAULT_PAGE


def fitting(items: list[M]) -> list[M]:
    """As many as a message takes, one at least: large items, such as locks with many ranges, make a shorter page."""
    size = 0
    for i, each in enumerate(items):
        size += each.ByteSize()
        if i and size > MAX_PAGE_BYTES:
            return items[:i]
    return items
