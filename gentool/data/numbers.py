"""`numbers`: number words in English and German, made by rule. German says the units before the tens."""

from __future__ import annotations

import functools

from gentool.data.find import Where
from gentool.data.pairs import PairSet
from gentool.data.sets import scramble

HIGHEST = 999_999
# So many numbers of each length in digits; a tenth of those with two digits or more is held out.
PER_LENGTH = {1: 10, 2: 90, 3: 900, 4: 5000, 5: 8000, 6: 10_000}
HELD_OUT = 20  # one in so many is for validation, and one for the test


def _words(text: str) -> list[str]:
    return text.split()


_ENGLISH_UNITS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_ENGLISH_TENS = _words(". ten twenty thirty forty fifty sixty seventy eighty ninety")
_GERMAN_UNITS = _words(
    "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn "
    "achtzehn neunzehn"
)
_GERMAN_TENS = _words(". zehn zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig")


def english(n: int) -> str:
    """``four hundred twenty three thousand nine hundred seventeen``, for 0 to 999,999."""
    if n >= 1000:
        return _join(english(n // 1000), "thousand", english(n % 1000) if n % 1000 else "")
    if n >= 100:
        return _join(_ENGLISH_UNITS[n // 100], "hundred", english(n % 100) if n % 100 else "")
    if n >= 20:
        return _join(_ENGLISH_TENS[n // 10], _ENGLISH_UNITS[n % 10] if n % 10 else "")
    return _ENGLISH_UNITS[n]


def german(n: int, *, last: bool = True) -> str:
    """``vier hundert drei und zwanzig tausend neun hundert siebzehn``: the one German word, cut into its parts.

    last: nothing follows, so that one is "eins" rather than "ein".
    """
    if n >= 1000:
        return _join(german(n // 1000, last=False), "tausend", german(n % 1000) if n % 1000 else "")
    if n >= 100:
        return _join(german(n // 100, last=False), "hundert", german(n % 100, last=last) if n % 100 else "")
    if n >= 20:
        return _join(german(n % 10, last=False), "und", _GERMAN_TENS[n // 10]) if n % 10 else _GERMAN_TENS[n // 10]
    return "ein" if n == 1 and not last else _GERMAN_UNITS[n]


def _join(*words: str) -> str:
    return " ".join(filter(None, words))


@functools.cache
def _chosen() -> dict[str, list[int]]:
    """The numbers of each split: fixed draws from all numbers of each length, shuffled once and for all."""
    splits: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for digits, count in PER_LENGTH.items():
        first = 10 ** (digits - 1) if digits > 1 else 0
        drawn = first + scramble(10**digits - first, salt=digits)[:count]
        held = count // HELD_OUT
        splits["test"] += drawn[:held].tolist()
        splits["validation"] += drawn[held : 2 * held].tolist()
        splits["train"] += drawn[2 * held :].tolist()
    return {name: [found[i] for i in scramble(len(found), salt=7)] for name, found in splits.items()}


def numbers(argument: str, split: str, where: Where) -> PairSet:
    """0 to 999,999 in words: English to German. No number of one split is in another."""
    pairs = [(english(n), german(n)) for n in _chosen()[split]]
    return PairSet("numbers", split, pairs, ("English", "German"))
