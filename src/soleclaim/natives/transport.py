"""HTTP to a native registry, trusting nothing: every answer is a JSON object of expected shape or ``Unclear``."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from soleclaim.core.serials import first_overlap, total
from soleclaim.registry.native import NativeIssuance, NativeOrder

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024

MAX_CONNECTIONS: Final = 100

IDLE_LIMIT_S: Final = 2.0
"""An idle connection is not used again after this. A server that closes idle connections (5 s is common) may do so
in the very moment of a request, which is then lost, and nobody can say whether before or after it was read.
"""


class Unclear(Exception):
    """What came back, or did not, allows no conclusion. The message says what was wrong, for people."""


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object whose fields are checked when they are read; a wrong or missing one is ``Unclear``."""

    values: Mapping[str, object]

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self.values.get(key)
        if not isinstance(value, str) or not value:
            raise Unclear(f"{key} is not a text: {value!r:.80}")
        return value

    def optional_text(self, key: str) -> str | None:
        """Like ``text``; absent and null are ``None``."""
        return None if self.values.get(key) is None else self.text(key)

    def count(self, key: str) -> int:
        """An integer of 0 or more."""
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise Unclear(f"{key} is not a count: {value!r:.80}")
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.values.get(key)
        if not isinstance(value, bool):
            raise Unclear(f"{key} is neither true nor false: {value!r:.80}")
        return value

    def object(self, key: str) -> "Fields":
        """An object."""
        value = self.values.get(key)
        if not isinstance(value, dict):
            raise Unclear(f"{key} is not an object: {value!r:.80}")
        return Fields(value)

    def objects(self, key: str) -> list["Fields"]:
        """A list of objects, perhaps empty."""
        value = self.values.get(key)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise Unclear(f"{key} is not a list of objects: {value!r:.80}")
        return [Fields(item) for item in value]

    def must_name(self, **wanted: str) -> None:
        """Check that the answer is about what was asked: ``wanted`` by field."""
        for key, value in wanted.items():
            if self.values.get(key) != value:
                raise Unclear(f"the answer names {key} {self.values.get(key)!r:.80}, not {value!r}")


class JsonTransport:
    """One registry's HTTP endpoint. Sends every request exactly once; follows no redirects."""

    def __init__(self, base_url: str, *, timeout_s: float, ca_file: Path | None) -> None:
        self._timeout_s = timeout_s
        secure = httpx.URL(base_url).scheme == "https"
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None) if secure else False
        # The limit below covers the whole call; httpx's own would start anew with every chunk. Proxies
        # of the environment are ignored: where a registry's calls go is a matter of configuration only.
        self._client = httpx.AsyncClient(
            base_url=base_url,
            timeout=None,  # noqa: S113  each call has its own limit, see ask
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS, max_keepalive_connections=20, keepalive_expiry=IDLE_LIMIT_S
            ),
            verify=context,
            trust_env=False,
        )

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
        statuses: frozenset[int] = frozenset({200}),
    ) -> tuple[int, Fields]:
        """Status (one of ``statuses``) and JSON object of the answer; ``Unclear`` for anything else."""
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream(method, path, json=body, params=query) as response,
            ):
                if response.status_code not in statuses:
                    raise Unclear(f"HTTP status {response.status_code}")
                content_type = response.headers.get("content-type", "none")
                if content_type.partition(";")[0].strip().lower() != "application/json":
                    raise Unclear(f"content type {content_type:.80} instead of JSON")
                content = await _content(response)
        except TimeoutError:
            raise Unclear(f"no answer within {self._timeout_s} s") from None
        except httpx.HTTPError as error:
            raise Unclear(f"{type(error).__name__}: {error}") from error
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise Unclear(f"the answer is not JSON: {error}") from error
        if not isinstance(answer, dict):
            raise Unclear("the answer is not a JSON object")
        return response.status_code, Fields(answer)

    async def close(self) -> None:
        """Release connections."""
        await self._client.aclose()


async def _content(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise Unclear(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def check_serials(issuance: NativeIssuance) -> None:
    """Blocks that do not add up to the units, or share a serial, make the record ``Unclear``."""
    if not issuance.units or total(issuance.blocks) != issuance.units:
        raise Unclear(f"{issuance.units} units, but serials for {total(issuance.blocks)}")
    if first_overlap(issuance.blocks) is not None:
        raise Unclear("two serial blocks overlap")


def check_answers(order: NativeOrder, issuance: NativeIssuance) -> None:
    """An issuance that is not the one ordered, in any field, is ``Unclear``."""
    for name in ("external_reference", "fencing_token", "native_project_id", "period", "units"):
        ordered, answered = getattr(order, name), getattr(issuance, name)
        if ordered != answered:
            raise Unclear(f"{name} is {answered} in the answer, {ordered} in the order")
