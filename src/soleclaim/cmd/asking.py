"""Asking the lookup or a registry, and other asynchronous work, from a command that is not asynchronous itself."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from soleclaim.cmd.options import Dialling
from soleclaim.cmd.output import say, tell

if TYPE_CHECKING:
    from soleclaim.client import LookupClient, RegistryClient

_Result = TypeVar("_Result")
_Client = TypeVar("_Client", "LookupClient", "RegistryClient")

PAGE: Final = 1_000
"""Largest page that the servers give."""


def run_in_order(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run to the end; SIGTERM ends it in order, as Ctrl-C does."""

    async def until_signalled() -> _Result:
        task = asyncio.ensure_future(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    return asyncio.run(until_signalled())


def ask_lookup(
    target: str, dialling: Dialling, ask: "Callable[[LookupClient], Awaitable[Any]]", *, registry: str = ""
) -> Any:  # noqa: ANN401  whatever ``ask`` gives
    """What ``ask`` gives, of the lookup at ``target``.

    ``registry``: the code by which a list was narrowed; an empty list under a code that no registry has is a mistake.
    """
    from soleclaim.client import LookupClient

    async def run() -> object:
        async with LookupClient(target, dialling.tls()) as client:
            found = await ask(client)
            if registry and found == []:
                await check_registry(client, registry)
            return found

    return asyncio.run(run())


async def check_registry(client: "LookupClient", code: str) -> None:
    """A usage error for a code that no registry of the lookup's policy bundle has."""
    from soleclaim.api.lookup.v1.registry_directory_service_pb2 import ListRegistriesRequest

    directory = await client.call(client.directory.ListRegistries, ListRegistriesRequest())
    if all(each.name != f"registries/{code}" for each in directory.registries):
        raise click.UsageError(
            say(
                f"--registry {code}: no registry has this code; `soleclaim registry list` shows the codes",
                f"--registry {code}：没有此代码的登记簿；`soleclaim registry list` 列出所有代码",
            )
        )


def ask_registry(target: str, code: str, dialling: Dialling, ask: "Callable[[RegistryClient], Awaitable[Any]]") -> Any:  # noqa: ANN401  whatever ``ask`` gives
    """What ``ask`` gives, of the adapter of registry ``code``, found through the directory of the lookup."""
    from soleclaim.client import LookupClient, RegistryClient

    async def run() -> object:
        tls = dialling.tls()
        async with LookupClient(target, tls) as lookup, await RegistryClient.resolve(lookup, code, tls) as client:
            return await ask(client)

    return asyncio.run(run())


def list_lookup(
    target: str,
    dialling: Dialling,
    limit: int,
    request: Any,  # noqa: ANN401  any List request
    method: "Callable[[LookupClient], Any]",
    rows: str,
) -> "list[Any]":
    """Rows of a list of the lookup at ``target``, at most ``limit``. ``rows``: the field of the response with them."""
    code = getattr(request, "registry", "")
    return list(
        ask_lookup(target, dialling, lambda client: read_pages(client, limit, request, method, rows), registry=code)
    )


async def read_pages(
    client: _Client,
    limit: int,
    request: Any,  # noqa: ANN401  any List request
    method: Callable[[_Client], Any],
    rows: str,
) -> "list[Any]":
    """Rows of page after page, at most ``limit``; that there may be more is told. ``method``: a List method."""
    found: list[Any] = []
    while True:
        # The size is part of what a page token is valid for.
        request.page_size = min(limit, PAGE)
        page = await client.call(method(client), request)
        found += getattr(page, rows)
        if not page.next_page_token:
            break
        if len(found) >= limit:
            tell(
                say(
                    f"the first {limit:,} are shown; there may be more, see --limit",
                    f"仅显示前 {limit:,} 条；可能还有更多，见 --limit",
                )
            )
            break
        request.page_token = page.next_page_token
    return found[:limit]
