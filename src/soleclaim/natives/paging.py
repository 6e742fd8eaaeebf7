"""Walking a paged list so that nothing is lost in silence."""

from collections.abc import AsyncIterator, Awaitable, Callable

from soleclaim.registry.native import NativeIssuance, NativeUnavailable


async def reconciled(
    fetch: Callable[[int], Awaitable[tuple[int, list[NativeIssuance]]]],
) -> AsyncIterator[NativeIssuance]:
    """Each issuance once. ``fetch(page)``, from 1, gives the announced total and the page's rows.

    The size of a page is never relied upon, because registries clamp it in silence: the walk ends when as
    many different issuances were seen as the latest page announces. A page without anything new before
    that, an issuance shown in two versions or more than announced is ``NativeUnavailable``, raised after
    the rows that were good: a caller must not conclude anything before the end.
    """
    seen: dict[str, NativeIssuance] = {}
    page = 0
    while True:
        page += 1
        total, rows = await fetch(page)
        before = len(seen)
        for issuance in rows:
            known = seen.setdefault(issuance.native_issuance_id, issuance)
            if known != issuance:
                raise NativeUnavailable(f"issuance {known.native_issuance_id} is listed in two versions")
            if known is issuance:
                yield issuance
        if len(seen) == total:
            return
        if len(seen) > total or len(seen) == before:
            raise NativeUnavailable(f"{total} issuances announced, {len(seen)} different ones listed")
