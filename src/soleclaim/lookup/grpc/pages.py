"""Pages of lists: how many items are asked for, and how many a message takes."""

from typing import Final, TypeVar

from google.protobuf.message import Message

from soleclaim.rpc.limits import MAX_MESSAGE_BYTES
from soleclaim.rpc.parse import Faults

DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 1000
MAX_PAGE_BYTES: Final = MAX_MESSAGE_BYTES * 3 // 4

M = TypeVar("M", bound=Message)


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
