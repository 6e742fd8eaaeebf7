"""Running a stand-in: in the foreground for people and containers, in a thread for tests."""

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette

from soleclaim.sandbox import ccer, energyuse, ets, gec, greenpower, local
from soleclaim.sandbox.stand_in import StandIn

KINDS: Final[dict[str, Callable[[StandIn], Starlette]]] = {
    "ccer": ccer.create_app,
    "energyuse": energyuse.create_app,
    "ets": ets.create_app,
    "gec": gec.create_app,
    "greenpower": greenpower.create_app,
    "local": local.create_app,
}
"""The stand-ins there are, by the name used on the command line."""

START_LIMIT_S: Final = 20.0


class _AnnouncingServer(uvicorn.Server):
    """Calls ``on_ready`` once connections are accepted."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()


def _server(kind: str, stand_in: StandIn, listener: socket.socket, on_ready: Callable[[str], None]) -> uvicorn.Server:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(sorted(KINDS))}, not {kind!r}")
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    config = uvicorn.Config(
        KINDS[kind](stand_in),
        http="h11",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=30,
        # A call that a fault keeps hanging must not keep the program from ending.
        timeout_graceful_shutdown=1,
    )
    return _AnnouncingServer(config, lambda: on_ready(url))


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP in so many words: only then does asyncio switch Nagle's delay of 40 ms an answer off.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


def serve(kind: str, stand_in: StandIn, host: str, port: int) -> None:
    """Run the stand-in ``kind`` until SIGTERM or SIGINT; port 0 takes a free one.

    Prints ``listening on http://HOST:PORT`` once it accepts connections.
    """
    # The web server stops on these signals and then raises them anew, to end the program by them; asked to
    # stop and stopped is a clean end here.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with contextlib.closing(_listener(host, port)) as listener:
        _server(kind, stand_in, listener, lambda url: print(f"listening on {url}", flush=True)).run([listener])


@contextlib.contextmanager
def running(kind: str, stand_in: StandIn | Path) -> Iterator[str]:
    """The stand-in ``kind`` in a thread of its own on a free loopback port; yields its base URL.

    A path stands for its database alone.
    """
    ready = threading.Event()
    url = ""

    def on_ready(where: str) -> None:
        nonlocal url
        url = where
        ready.set()

    with contextlib.closing(_listener("127.0.0.1", 0)) as listener:
        given = StandIn(stand_in) if isinstance(stand_in, Path) else stand_in
        server = _server(kind, given, listener, on_ready)
        thread = threading.Thread(target=server.run, args=([listener],), name=f"sandbox-{kind}")
        thread.start()
        try:
            if not ready.wait(START_LIMIT_S):
                raise TimeoutError(f"the stand-in {kind} did not start in {START_LIMIT_S} s")
            yield url
        finally:
            server.should_exit = True
            thread.join()
