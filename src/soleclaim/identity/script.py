"""Scripts: what is seen of a text, letters that look Latin, Chinese characters simplified, and their pinyin."""

import re
import unicodedata
from functools import lru_cache
from typing import Final

from opencc import OpenCC
from pypinyin import Style, lazy_pinyin
from pypinyin.constants import PINYIN_DICT

HAN: Final = re.compile(r"[㐀-䶿一-鿿]")

_BLANK_LETTERS: Final = "\u115f\u1160\u2800\u3164\uffa0"
"""Fillers of Hangul and the empty cell of Braille: letters and signs that show nothing."""
_LOOK_LATIN: Final = {
    ord(each): latin
    for latin, others in {
        "A": "\u0410\u0391", "B": "\u0412\u0392", "C": "\u0421", "E": "\u0415\u0395", "H": "\u041d\u0397",
        "I": "\u0406\u0399", "J": "\u0408", "K": "\u041a\u039a", "M": "\u041c\u039c", "N": "\u039d",
        "O": "\u041e\u039f", "P": "\u0420\u03a1", "S": "\u0405", "T": "\u0422\u03a4", "X": "\u0425\u03a7",
        "Y": "\u0423\u03a5", "Z": "\u0396", "a": "\u0430", "c": "\u0441", "d": "\u0501",
        "e": "\u0435", "h": "\u04bb", "i": "\u0456", "j": "\u0458", "o": "\u043e\u03bf",
        "p": "\u0440\u03c1", "s": "\u0455", "v": "\u03bd", "x": "\u0445", "y": "\u0443",
    }.items()
    for each in others
}  # fmt: skip
"""Letters of Cyrillic and Greek that look like Latin ones (Unicode TR 39)."""
_MIXED: Final = re.compile(r"\b(?=\w*[A-Za-z])(?=\w*[\u0370-\u052f])\w+")


def visible(text: str) -> str:
    """A text in one form of its characters (NFKC), with a blank for each that shows nothing.

    In a word that has Latin letters too, letters that look Latin are taken as such.
    """
    clean = unicodedata.normalize("NFKC", text)
    clean = "".join(
        " " if each in _BLANK_LETTERS or unicodedata.category(each) in ("Cc", "Cf", "Zl", "Zp") else each
        for each in clean
    )
    return _MIXED.sub(lambda found: found[0].translate(_LOOK_LATIN), clean)


_TO_SIMPLIFIED: Final = OpenCC("t2s")


@lru_cache(maxsize=8192)
def simplified(text: str) -> str:
    """Traditional characters as simplified ones; all else as it is."""
    return str(_TO_SIMPLIFIED.convert(text))


_READINGS: Final = {
    "长": "chang", "都": "du", "藏": "zang", "朝": "chao", "乾": "qian", "漯": "luo", "厦": "xia", "蚌": "beng",
    "陂": "pi", "枞": "zong", "坻": "di", "犍": "qian", "番": "pan", "堡": "bao", "埔": "pu", "乐": "le",
}  # fmt: skip
"""How names of places read characters that other words read in another way."""


def syllables(han: str) -> tuple[str, ...]:
    """The pinyin of each character, without tones; what is no Chinese character, or has none, is left out."""
    characters = [each for each in HAN.findall(han) if ord(each) in PINYIN_DICT]
    sounds = lazy_pinyin("".join(characters), style=Style.NORMAL)
    return tuple(_READINGS.get(each, sound) for each, sound in zip(characters, sounds, strict=True))
