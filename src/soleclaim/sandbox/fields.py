"""Reading request bodies: every field is checked where it enters."""

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Final

from starlette.requests import Request

MAX_BULK: Final = 10_000
"""Rows in one bulk registration."""
MAX_NUMBER: Final = 10**15
PROJECT_CODE: Final = r"[0-9]{4}-[0-9]{6}-[0-9]{2}-[0-9]{2}-[0-9]{6}"
MEGAWATTS: Final = r"[0-9]{1,6}(\.[0-9]{1,3})?"
FILING_CODE: Final = r"[0-9A-Z]{17}"
USCC: Final = r"[0-9A-Z]{18}"
AMOUNT: Final = "[0-9]{1,12}"
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


def day(row: Row, key: str) -> str:
    """A day ``YYYY-MM-DD`` that there is."""
    value = text(row, key, "[0-9]{4}-[0-9]{2}-[0-9]{2}")
    try:
        date.fromisoformat(value)
    except ValueError:
        raise BadRequest(f"{key} must be a day YYYY-MM-DD, not {value!r}") from None
    return value


def optional_day(row: Row, key: str) -> str | None:
    """Like ``day``; absent and null are ``None``."""
    return None if row.get(key) is None else day(row, key)


def statement_days(row: Row) -> dict[str, object]:
    """``from``, ``to`` (may be open) and ``withdrawn`` of what is stated about who is inside a market."""
    withdrawn = row.get("withdrawn", False)
    first, last = day(row, "from"), optional_day(row, "to")
    if not isinstance(withdrawn, bool) or (last is not None and last < first):
        raise BadRequest("withdrawn must be true or false, and to must not lie before from")
    return {"from": first, "to": last, "withdrawn": withdrawn}


def page_of(asked: Row, number_key: str, size_key: str) -> tuple[int, int]:
    """Number, from 1, and size of the page that a query asks for."""
    page, size = (int(text(asked, key, "[1-9][0-9]{0,8}")) for key in (number_key, size_key))
    return page, size


def integer(row: Row, key: str, *, least: int = 0, most: int = MAX_NUMBER) -> int:
    """A JSON integer between ``least`` and ``most``."""
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadRequest(f"{key} must be an integer from {least} to {most}, not {value!r}")
    return value
