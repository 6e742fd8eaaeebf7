"""The activity id: one identifier per mitigation activity, valid in every mechanism (R95, design section 5).

Country (ISO 3166-1 alpha-2), 12 characters of Crockford base32, 2 check digits by ISO 7064 MOD 97-10.
The 12 characters are 60 random bits; as a number they are the activity's key in the stores.
"""

import re
import secrets
from typing import Final, NewType

ActivityId = NewType("ActivityId", str)
ActivityKey = NewType("ActivityKey", int)
"""The 60 bits of an activity id as a number, 0 to 2^60 - 1; unique across countries."""

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SHAPE: Final = re.compile(rf"[A-Z]{{2}}[{ALPHABET}]{{12}}[0-9]{{2}}")
_DIGITS: Final = str.maketrans({chr(ord("A") + i): str(10 + i) for i in range(26)})
_BASE_32: Final = str.maketrans(ALPHABET, "0123456789ABCDEFGHIJKLMNOPQRSTUV")
"""From Crockford's digits to those of ``int(text, 32)``."""
_PAIRS: Final = tuple(left + right for left in ALPHABET for right in ALPHABET)
"""Ten bits as two characters."""
_BODY_LENGTH: Final = 12


class ActivityIdError(ValueError):
    """The text is not an activity id; the message says why."""


def _check_digits(stem: str) -> str:
    return f"{98 - int(stem.translate(_DIGITS) + '00') % 97:02d}"


def make_activity_id(country: str, key: ActivityKey) -> ActivityId:
    """The id of a key. ``country`` is two capital letters (``ActivityIdError`` otherwise)."""
    if not re.fullmatch(r"[A-Z]{2}", country):
        raise ActivityIdError("country must be two capital letters (ISO 3166-1 alpha-2)")
    if key >> 60:
        raise ActivityIdError("key must lie between 0 and 2^60 - 1")
    stem = country + "".join(
        [
            _PAIRS[key >> 50], _PAIRS[key >> 40 & 1023], _PAIRS[key >> 30 & 1023],
            _PAIRS[key >> 20 & 1023], _PAIRS[key >> 10 & 1023], _PAIRS[key & 1023],
        ]
    )  # fmt: skip
    return ActivityId(stem + _check_digits(stem))


def new_activity_key() -> ActivityKey:
    """A random key. Nothing of the activity is in it."""
    return ActivityKey(secrets.randbits(60))


def parse_activity_id(text: str) -> ActivityId:
    """Check shape and check digits. Accepts the printed form in fours and lower case."""
    compact = text
    if not _SHAPE.fullmatch(text):
        compact = text[:33].replace(" ", "").replace("-", "").upper()
    if len(text) > 32 or not _SHAPE.fullmatch(compact):
        raise ActivityIdError(
            "an activity id has 16 characters: country, 12 of Crockford base32 (no I, L, O, U), 2 check digits"
        )
    if int(compact.translate(_DIGITS)) % 97 != 1 or not "02" <= compact[-2:] <= "98":
        raise ActivityIdError("check digits do not fit; compare the id with its source character by character")
    return ActivityId(compact)


def activity_key(activity_id: ActivityId) -> ActivityKey:
    """The key inside a checked id."""
    return ActivityKey(int(activity_id[2 : 2 + _BODY_LENGTH].translate(_BASE_32), 32))


def activity_urn(activity_id: ActivityId) -> str:
    """``urn:soleclaim:activity:CN7K3M9Q2X4T8A21``, for machines and codes that are scanned."""
    return f"urn:soleclaim:activity:{activity_id}"


def print_in_fours(activity_id: ActivityId) -> str:
    """``CN7K 3M9Q 2X4T 8A21``, for people."""
    return " ".join(activity_id[i : i + 4] for i in range(0, 16, 4))
