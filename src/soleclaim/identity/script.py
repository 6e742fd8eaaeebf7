"""Chinese script: which characters it is, and simplified for traditional ones."""

import re
from functools import lru_cache
from typing import Final

from opencc import OpenCC

HAN: Final = re.compile(r"[㐀-䶿一-鿿]")

_TO_SIMPLIFIED: Final = OpenCC("t2s")


@lru_cache(maxsize=8192)
def simplified(text: str) -> str:
    """Traditional characters as simplified ones; all else as it is."""
    return str(_TO_SIMPLIFIED.convert(text))
