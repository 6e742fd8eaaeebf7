"""The outermost server interceptor: identity, access, deadline, limits and errors for every RPC (design 7 and 8)."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from soleclaim.core.errors import DomainError, FieldViolation, InvalidRequest, Reason
from soleclaim.rpc import calls
from soleclaim.rpc.access import ACCESS
from soleclaim.rpc.caller import Context, caller_of, first_value, is_secure
from soleclaim.rpc.limits import MIN_REMAINING_S, RETRY_NEEDS_S
from soleclaim.rpc.status import STATUS_KEY, code_of, to_status

_LOG: Final = logging.getLogger("soleclaim.rpc")
_HEALTH: Final = "/grpc.health.v1.Health/"
STOPPING: Final = "the server is stopping; connect again and go on from the last cursor"

Body = Callable[[Any, Context], Awaitable[Any]]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Stands in for a request whose bytes are no message, so that the refusal takes the usual way."""

    description: str


class Gate(grpc.aio.ServerInterceptor):
    """Wraps every handler; nothing reaches one without passing it, and no exception leaves but as a status.

    ``plaintext`` lets connections without TLS in. At most ``max_calls`` run at once, health checks aside.
    """

    def __init__(self, *, plaintext: bool, max_calls: int, min_remaining_s: float = MIN_REMAINING_S) -> None:
        self._plaintext = plaintext
        self._max_calls = max_calls
        self._min_remaining_s = min_remaining_s
        self._wrapped: dict[str, Handler] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._streams: set[asyncio.Task[Any]] = set()
        self._ended: set[asyncio.Task[Any]] = set()

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> "Handler | None":
        """Wrap the handler, once per method. Methods that nobody serves stay UNIMPLEMENTED."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def end_streams(self) -> None:
        """End every open response stream with UNAVAILABLE, so that idle watchers do not use up the grace."""
        for task in self._streams:
            self._ended.add(task)
            task.cancel()

    async def drained(self, timeout_s: float) -> bool:
        """Wait until no handler runs, clean-up included; ``False`` when some still do after ``timeout_s``."""
        running = self._running - {asyncio.current_task()}
        if running:
            await asyncio.wait(running, timeout=timeout_s)
        return all(task.done() for task in running)

    def _wrap(self, method: str, handler: Handler) -> Handler:
        shape = f"{'stream' if handler.request_streaming else 'unary'}_{_answer(handler)}"
        # The type stubs know the handlers of synchronous servers only.
        body: Any = getattr(handler, shape)
        make: Any = getattr(grpc, f"{shape}_rpc_method_handler")
        serialize = handler.response_serializer
        if handler.response_streaming:
            body, streams = _pump(body), self._streams
        else:
            # In here, because grpc.aio tells the client what a serializer raises.
            body, streams, serialize = _serialized(body, serialize), None, None

        async def guarded(request: object, context: Context) -> object:
            return await self._run(method, body, request, context, streams)

        wrapped: Handler = make(guarded, _tolerant(handler.request_deserializer), serialize)
        return wrapped

    async def _run(
        self, method: str, body: Body, request: object, context: Context, streams: set[asyncio.Task[Any]] | None
    ) -> object:
        """Run one call in its own task and turn whatever it raises into one status."""
        trace_id = calls.accepted_trace_id(first_value(context, calls.TRACE_ID_KEY))
        context.set_trailing_metadata(((calls.TRACE_ID_KEY, trace_id),))
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  grpc.aio runs every handler in a task
        self._running.add(task)
        if streams is not None:
            streams.add(task)
        try:
            self._admit(method, request, context, trace_id)
            return await body(request, context)
        except DomainError as error:
            refusal = error
        except grpc.aio.AbortError:
            raise
        except asyncio.CancelledError:
            if task in self._ended and task.uncancel() == 0:
                await context.abort(grpc.StatusCode.UNAVAILABLE, STOPPING)
            if task.cancelling():
                raise  # The caller went away or its deadline passed: there is nobody to answer.
            _LOG.exception("work inside %s was cancelled; trace %s", method, trace_id)
            refusal = DomainError(Reason.INTERNAL, trace_id=trace_id)
        except Exception:  # noqa: BLE001  whatever a handler raises must not leave as text
            _LOG.exception("uncaught exception in %s; trace %s", method, trace_id)
            refusal = DomainError(Reason.INTERNAL, trace_id=trace_id)
        finally:
            self._running.discard(task)
            self._ended.discard(task)
            if streams is not None:
                streams.discard(task)
        await _refuse(context, refusal, trace_id)
        return None

    def _admit(self, method: str, request: object, context: Context, trace_id: str) -> None:
        """Refuse, in this order: no identity, wrong role, too little time, too many calls, no message."""
        if not self._plaintext and not is_secure(context):
            raise DomainError(Reason.UNAUTHENTICATED, detail="the connection is not TLS")
        caller = caller_of(context)
        allowed = ACCESS[method]
        if caller.role not in allowed:
            roles = ", ".join(sorted(role.value for role in allowed))
            raise DomainError(Reason.ROLE_NOT_ALLOWED, role=caller.role.value, method=method, allowed=roles)
        remaining_s: float | None = context.time_remaining()
        if remaining_s is not None and remaining_s < self._min_remaining_s:
            remaining_ms, needed_ms = int(remaining_s * 1000), int(self._min_remaining_s * 1000)
            raise DomainError(Reason.DEADLINE_TOO_SHORT, remaining_ms=remaining_ms, needed_ms=needed_ms)
        if len(self._running) > self._max_calls and not method.startswith(_HEALTH):
            raise DomainError(Reason.TOO_MANY_CALLS, limit=self._max_calls)
        if isinstance(request, _Unreadable):
            raise InvalidRequest([FieldViolation("", request.description)])
        calls.enter(trace_id, remaining_s)


async def _refuse(context: Context, refusal: DomainError, trace_id: str) -> None:
    status, code = to_status(refusal), code_of(refusal)
    trailers: list[tuple[str, str | bytes]] = [(STATUS_KEY, status.SerializeToString()), (calls.TRACE_ID_KEY, trace_id)]
    remaining_s: float | None = context.time_remaining()
    if code is grpc.StatusCode.UNAVAILABLE and remaining_s is not None and remaining_s < RETRY_NEEDS_S:
        # Otherwise the client's transport waits to try again until its deadline takes the reason away.
        trailers.append(("grpc-retry-pushback-ms", "-1"))
    await context.abort(code, status.message, tuple(trailers))


def _answer(handler: Handler) -> str:
    return "stream" if handler.response_streaming else "unary"


def _pump(handler: Callable[[Any, Context], Any]) -> Body:
    """One shape for both kinds of streaming handlers: async generators and coroutines that write."""

    async def body(request: object, context: Context) -> None:
        result = handler(request, context)
        if not inspect.isasyncgen(result):
            await result
            return
        async with aclosing(result):
            async for message in result:
                await context.write(message)

    return body


def _serialized(handler: Callable[[Any, Context], Any], serialize: Callable[[Any], bytes] | None) -> Body:
    async def body(request: object, context: Context) -> object:
        response = await handler(request, context)
        return serialize(response) if serialize else response

    return body


def _tolerant(deserialize: Callable[[bytes], object] | None) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        try:
            return deserialize(data) if deserialize else data
        except DecodeError:
            return _Unreadable("the bytes are no message of this method; compare the client's API version")

    return read
