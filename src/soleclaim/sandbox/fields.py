"""Reading request bodies: every field is checked where it enters."""

import json
import re
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request

MAX_BULK: Final = 10_000
"""Rows in one bulk registration."""
MAX_NUMBER: Final = 10**15
REFERENCE: Final = r"[A-Za-z0-9._:-]{1,64}"

Row = Mapping[str, object]


class Refused(Exception):
    """The registry's rules forbid it; nothing was done."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class BadRequest(Refused):
    """The request cannot be understood; nothing was done."""

    def __init__(self, message: str) -> None:
        super().__init__("BAD_REQUEST", message)


async def json_object(request: Request) -> Row:
    """The request's body as a JSON object."""
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


def objects(body: Row, key: str, *, limit: int = MAX_BULK) -> list[Row]:
    """A list of 1 to ``limit`` objects."""
    found = body.get(key)
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise BadRequest(f"{key} must be a list of objects")
    if not 1 <= len(found) <= limit:
        raise BadRequest(f"{key} must have 1 to {limit} entries, not {len(found)}")
    return found


def text(row: Row, key: str, pattern: str = r".{1,200}") -> str:
    """A text that matches ``pattern`` as a whole."""
    value = row.get(key)
    if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
        raise BadRequest(f"{key} must be a text like {pattern}, not {value!r}")
    return value


def optional_text(row: Row, key: str, pattern: str = r".{1,200}") -> str | None:
    """Like ``text``; absent and null are ``None``."""
    return None if row.get(key) is None else text(row, key, pattern)


def integer(row: Row, key: str, *, least: int = 0, most: int = MAX_NUMBER) -> int:
    """A JSON integer between ``least`` and ``most``."""
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadRequest(f"{key} must be an integer from {least} to {most}, not {value!r}")
    return value
