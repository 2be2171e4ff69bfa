"""Pairs of sentences from files: `eng-fra` and `multi30k` by name, and a user's own ``pairs:FILE``."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

from gentool.data.find import Where, files_of
from gentool.data.known import ENG_FRA, MULTI30K, MULTI30K_FR, Known
from gentool.data.pairs import Pair, PairSet
from gentool.data.sets import scramble
from gentool.data.texts import decode, read_bytes
from gentool.errors import UsageError
from gentool.show.text import safe_text

HELD_OUT = 2000  # pairs for the test, and as many for validation
LONGEST = 20_000  # characters of a side: a longer line is no sentence
_NAMED_BAD = 3


def read_pairs(text: str, shown: str, where: Where) -> tuple[list[Pair], list[str]]:
    """(pairs, what was left out) of lines ``source<TAB>target``; blank lines are passed over, spaces around a side too.

    Lines with another number of columns, an empty side or a side of over 20,000 characters are refused, or left out and
    counted where the user said so (`data.skip_bad`).
    """
    pairs: list[Pair] = []
    bad: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        sides = [side.strip() for side in line.split("\t")]
        why = _wrong(sides)
        if not why:
            pairs.append((sides[0], sides[1]))
            continue
        if not where.skip_bad:
            raise UsageError(
                f"'{shown}', line {number}: {why}; a line is source<TAB>target"
                + (" (`cut -f1,2` keeps two columns)" if len(sides) > 2 else "")
                + ", or leave such lines out with --set data.skip_bad=true."
            )
        bad.append(f"line {number}: {why}")
    if bad:
        more = f" and {len(bad) - _NAMED_BAD:,} more" if len(bad) > _NAMED_BAD else ""
        where.say(f"Left out of '{shown}': {'; '.join(bad[:_NAMED_BAD])}{more}.")
    return pairs, bad


def _wrong(sides: list[str]) -> str:
    if len(sides) != 2:
        return f"it has {len(sides)} column{'s' if len(sides) > 1 else ''}, not 2"
    if not all(sides):
        return "a side is empty"
    longest = max(map(len, sides))
    return f"a side has {longest:,} characters, over {LONGEST:,}" if longest > LONGEST else ""


def split_by_source(pairs: Iterable[Pair], split: str, held_out: int, salt: int) -> list[Pair]:
    """A fixed split that keeps one source sentence (case and signs aside) on one side, and equal pairs once.

    Groups of pairs with one source are shuffled once and for all; the test and then validation take groups until they
    have `held_out` pairs each (what a last group has beyond that is in no split), training has the rest.
    """
    groups: dict[str, list[Pair]] = {}
    for pair in dict.fromkeys(pairs):
        groups.setdefault(_key(pair[0]), []).append(pair)
    ordered = list(groups.values())
    places = iter(scramble(len(ordered), salt).tolist())
    found: dict[str, list[Pair]] = {"test": [], "validation": [], "train": []}
    for name in ("test", "validation"):
        while len(found[name]) < held_out:
            found[name] += ordered[next(places)][: held_out - len(found[name])]
    for place in places:
        found["train"] += ordered[place]
    chosen = found[split]
    return [chosen[i] for i in scramble(len(chosen), salt + 1)]


def _key(sentence: str) -> str:
    return " ".join(re.findall(r"\w+", sentence.casefold())) or sentence


def own(argument: str, split: str, where: Where) -> PairSet:
    """``pairs:FILE``: UTF-8 lines ``source<TAB>target``. A tenth (at most 2,000 pairs) is the test, another validation;
    nothing is held out of fewer than 20. A source sentence is in one split alone."""
    path = Path(argument).expanduser()
    shown = safe_text(argument)
    pairs, bad = read_pairs(decode(read_bytes(path), shown), shown, where)
    if not pairs:
        raise UsageError(f"The file '{shown}' has no pairs; a line is source<TAB>target.")
    sources = len({_key(source) for source, _ in pairs})
    held = min(HELD_OUT, sources // 10) if sources >= 20 else 0
    chosen = split_by_source(pairs, split, held, salt=11)
    return PairSet(f"pairs:{path.name}", split, chosen, notes=tuple(bad))


def eng_fra(argument: str, split: str, where: Where) -> PairSet:
    """Short sentences of Tatoeba, English to French: 2,000 test and 2,000 validation pairs; an English sentence is in one
    split alone."""
    (path,) = _files(ENG_FRA, where)
    pairs, _ = read_pairs(decode(_verified(path, ENG_FRA), "eng-fra"), "eng-fra", where)
    return PairSet("eng-fra", split, split_by_source(pairs, split, HELD_OUT, salt=13), ("English", "French"))


def multi30k(argument: str, split: str, where: Where) -> PairSet:
    """Descriptions of pictures, German to English (Elliott et al. 2016); the test is that of 2016 (Flickr)."""
    return _multi30k(MULTI30K, "de", "German", split, where)


def multi30k_fr(argument: str, split: str, where: Where) -> PairSet:
    """The same from French to English (Elliott et al. 2017)."""
    return _multi30k(MULTI30K_FR, "fr", "French", split, where)


def _multi30k(known: Known, code: str, language: str, split: str, where: Where) -> PairSet:
    part = {"train": "train", "validation": "val", "test": "test_2016_flickr"}[split]
    paths = {path.name: path for path in _files(known, where)}
    sides = []
    for end in (code, "en"):
        path = paths[f"{part}.{end}.gz"]
        try:
            data = gzip.decompress(_verified(path, known))
        except (OSError, EOFError, zlib.error):
            raise UsageError(f"'{safe_text(str(path))}' is not a gzip file; fetch it again.") from None
        sides.append([line.strip() for line in decode(data, path.name).removesuffix("\n").split("\n")])
    if len(sides[0]) != len(sides[1]):
        raise UsageError(f"{known.name}: the two sides of '{part}' have {len(sides[0])} and {len(sides[1])} lines.")
    pairs = [(a, b) for a, b in zip(*sides) if a and b]
    if split == "train":
        pairs = [pairs[i] for i in scramble(len(pairs), salt=17)]
    return PairSet(known.name, split, pairs, (language, "English"))


def _files(known: Known, where: Where) -> list[Path]:
    return list(files_of(known, where).values())


def _verified(path: Path, known: Known) -> bytes:
    """The bytes of a file of a named set, held against the published checksum: its splits are what figures are quoted on."""
    data = read_bytes(path, 1 << 26)
    file = next(f for layout in known.layouts for f in layout if path.name in f.names)
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != file.checksum:
        raise UsageError(
            f"'{safe_text(str(path))}' is not the file of {known.name} that it should be (its checksum differs); fetch it "
            "again, or name pairs of your own as pairs:FILE."
        )
    return data
