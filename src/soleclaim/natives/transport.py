"""HTTP to a native registry, trusting nothing: every answer is a JSON object of expected shape or ``Unclear``."""

import asyncio
import json
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from email.message import Message
from pathlib import Path
from typing import Final, TypeVar

import httpx

from soleclaim.natives.answers import Unclear
from soleclaim.natives.cells import day, exact, whole

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024

MAX_TEXT: Final = 10_000
"""Characters of one field: a longer one would keep a whole batch from the lookup."""

MAX_CONNECTIONS: Final = 100

IDLE_LIMIT_S: Final = 2.0
"""An idle connection is not used again after this. A server that closes idle connections (5 s is common) may do so
in the very moment of a request, which is then lost, and nobody can say whether before or after it was read.
"""


_Value = TypeVar("_Value")


_MEGAWATTS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")
"""Down to the kilowatt; a finer, signed or grouped number is not taken."""


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object whose fields are checked when they are read; a wrong or missing one is ``Unclear``."""

    values: Mapping[str, object]

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self.values.get(key)
        if not isinstance(value, str) or not value:
            raise Unclear(f"{key} is not a text: {value!r:.80}")
        if len(value) > MAX_TEXT:
            raise Unclear(f"{key} has {len(value)} characters, more than {MAX_TEXT}")
        return value

    def optional_text(self, key: str) -> str | None:
        """Like ``text``; absent and null are ``None``."""
        return None if self.values.get(key) is None else self.text(key)

    def told_text(self, key: str) -> str:
        """A text that only describes: whatever is none is empty, as not known."""
        value = self.values.get(key)
        return value.strip() if isinstance(value, str) and len(value) <= MAX_TEXT else ""

    def told_kilowatts(self, key: str) -> int:
        """Megawatts, as a text or a number of plain digits, in whole kilowatts; 0, not known, where it is neither."""
        value = self.values.get(key)
        written = "" if isinstance(value, bool) else str(value)
        return int(Decimal(written) * 1000) if _MEGAWATTS.fullmatch(written) else 0

    def is_null(self, key: str) -> bool:
        """Whether there is nothing, in so many words: a field that is missing says nothing."""
        if key not in self.values:
            raise Unclear(f"{key} is missing")
        return self.values[key] is None

    def count(self, key: str) -> int:
        """An integer of 0 or more."""
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise Unclear(f"{key} is not a count: {value!r:.80}")
        return value

    def whole(self, key: str) -> int:
        """A whole amount of 0 or more: an integer, or a text as ``cells.whole`` reads it."""
        return self._by_rule(key, whole)

    def thousandths(self, key: str) -> int:
        """An amount of 0 or more in whole thousandths, kilograms of tonnes; ``Unclear`` where it says more."""
        return self._by_rule(key, lambda value: whole(str(exact(value) * 1000)))

    def day(self, key: str) -> date:
        """A civil day, written as ``cells.day`` reads it."""
        self.text(key)
        return self._by_rule(key, day)

    def matching(self, key: str, pattern: str) -> str:
        """A text that is of ``pattern`` as a whole: an identifier that became a number, or lost a zero, is none."""
        value = self.text(key)
        if re.fullmatch(pattern, value) is None:
            raise Unclear(f"{key} is not of the form {pattern}: {value!r:.80}")
        return value

    def _by_rule(self, key: str, rule: Callable[[object], _Value]) -> _Value:
        value = self.values.get(key)
        if isinstance(value, float):
            # Worth a whole number or not: a point in a JSON number tells that it went through a float somewhere.
            raise Unclear(f"{key}: {value!r} became a float and may have lost digits")
        try:
            return rule(value)
        except ValueError as error:
            raise Unclear(f"{key}: {error}") from error

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

    def record(self, key: str, **wanted: str | int) -> "Fields | None":
        """The one record asked for, ``None`` for a clear "there is none": both name what was asked."""
        self.must_name(**wanted)
        if self.is_null(key):
            return None
        record = self.object(key)
        record.must_name(**wanted)
        return record

    def must_name(self, **wanted: str | int) -> None:
        """Check that the answer is about what was asked: ``wanted`` by field."""
        for key, value in wanted.items():
            found = self.values.get(key)
            # 2024.0 equals 2024, and True equals 1: neither is what was asked for.
            if type(found) is not type(value) or found != value:
                raise Unclear(f"the answer names {key} {found!r:.80}, not {value!r}")


class JsonTransport:
    """One registry's HTTP endpoint. Sends every request exactly once; follows no redirects."""

    def __init__(
        self, base_url: str, *, timeout_s: float, ca_file: Path | None, auth: httpx.Auth | None = None
    ) -> None:
        self._timeout_s = timeout_s
        secure = httpx.URL(base_url).scheme == "https"
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None) if secure else False
        # The limit below covers the whole call; httpx's own would start anew with every chunk. Proxies
        # of the environment are ignored: where a registry's calls go is a matter of configuration only.
        self._client = httpx.AsyncClient(
            base_url=base_url,
            auth=auth,
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
                _must_be_json(response.headers.get("content-type", "none"))
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


def _must_be_json(content_type: str) -> None:
    """JSON, in UTF-8 as JSON is: bytes of another encoding may pass as UTF-8 and say something else."""
    message = Message()
    message["content-type"] = content_type
    if message.get_content_type() != "application/json":
        raise Unclear(f"content type {content_type:.80} instead of JSON")
    if message.get_content_charset("utf-8") not in ("utf-8", "utf8"):
        raise Unclear(f"content type {content_type:.80} instead of UTF-8")


async def _content(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise Unclear(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)
