"""Walking a paged list so that nothing is lost in silence."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from soleclaim.natives.answers import Unclear
from soleclaim.natives.transport import Fields
from soleclaim.registry.native import NativeIssuance, NativeUnavailable

Entry = TypeVar("Entry")


def read_rows(rows: Sequence[Fields], read: Callable[[Fields], Entry]) -> list[Entry | Unclear]:
    """Each row, or why it cannot be read: one bad row does not hide the others."""
    return [_read(row, read) for row in rows]


def _read(row: Fields, read: Callable[[Fields], Entry]) -> Entry | Unclear:
    try:
        return read(row)
    except Unclear as unclear:
        return unclear


def reconciled(
    fetch: Callable[[int], Awaitable[tuple[int, Sequence[NativeIssuance | Unclear]]]],
) -> AsyncIterator[NativeIssuance]:
    """All issuances, each once; see ``reconciled_by``."""
    return reconciled_by(fetch, lambda issuance: issuance.native_issuance_id, "issuance")


async def reconciled_by(
    fetch: Callable[[int], Awaitable[tuple[int, Sequence[Entry | Unclear]]]],
    key: Callable[[Entry], str],
    word: str,
) -> AsyncIterator[Entry]:
    """Each entry once. ``fetch(page)``, from 1, gives the announced total and the page's rows; ``key``: what tells
    entries apart; ``word``: what one is called in messages.

    The size of a page is never relied upon, because registries clamp it in silence: the walk ends when as
    many different entries were seen as the latest page announces. A page without anything new before
    that, an entry shown in two versions, more than announced, a total that falls or a row that cannot be read is
    ``NativeUnavailable``, raised after the rows that were good: a caller must not conclude anything before the end.
    """
    seen: dict[str, Entry] = {}
    unread: list[Unclear] = []
    page = announced = 0
    while True:
        page += 1
        total, rows = await fetch(page)
        if total < announced:
            raise NativeUnavailable(f"{announced} {word}s announced, then {total}")
        announced = total
        before = len(seen) + len(unread)
        versions: dict[str, Entry] = {}
        whole = [row for row in rows if not isinstance(row, Unclear)]
        double = {key(row) for row in whole if versions.setdefault(key(row), row) != row}
        for row in rows:
            if isinstance(row, Unclear):
                unread.append(row)
                continue
            if key(row) in double:
                # Neither is passed on: which is right cannot be told.
                unread.append(Unclear(f"{word} {key(row)} is listed in two versions"))
                continue
            known = seen.setdefault(key(row), row)
            if known != row:
                raise NativeUnavailable(f"{word} {key(row)} is listed in two versions")
            if known is row:
                yield row
        found = len(seen) + len(unread)
        if unread and found >= total:
            raise NativeUnavailable(f"{len(unread)} of {total} {word}s cannot be read, first: {unread[0]}")
        if found == total:
            return
        if found > total or found == before:
            raise NativeUnavailable(f"{total} {word}s announced, {found} different ones listed")
