"""What every stand-in's web application has in common."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from soleclaim.sandbox.faults import FaultBoard, FaultMiddleware, fault_route
from soleclaim.sandbox.fields import BadRequest, Refused


class Store(Protocol):
    """What the application must close when it ends."""

    def close(self) -> None:
        """Close the file."""


async def _health(request: Request) -> JSONResponse:  # noqa: ARG001  Starlette's handler shape
    return JSONResponse({"status": "ok"})


def build(
    *,
    store: Store,
    board: FaultBoard,
    routes: Sequence[Route],
    refusal: Callable[[int, str, str], Response],
) -> Starlette:
    """An application of ``routes`` with ``/health`` and the fault switchboard.

    ``refusal`` shapes an answer (HTTP status proposed, code, message) in the registry's own way.
    """

    async def on_refused(request: Request, error: Exception) -> Response:  # noqa: ARG001
        assert isinstance(error, Refused)  # noqa: S101  registered for this class only
        return refusal(400 if isinstance(error, BadRequest) else 409, error.code, error.message)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:  # noqa: ARG001
        try:
            yield
        finally:
            await board.close()
            store.close()

    return Starlette(
        routes=[Route("/health", _health), fault_route(board), *routes],
        middleware=[Middleware(FaultMiddleware, board=board)],
        exception_handlers={Refused: on_refused},
        lifespan=lifespan,
    )
