"""What `gentool data check` says of texts and of pairs of sentences."""

from __future__ import annotations

import statistics
import unicodedata
from collections import Counter
from collections.abc import Callable

from gentool.data.check import Facts, Row
from gentool.data.pairs import PairSet
from gentool.data.sets import SPLITS
from gentool.data.text import TextSet
from gentool.show.text import safe_text

MOST_CONTROLS = 8  # named


def check_text(name: str, open_one: Callable[[str], TextSet]) -> Facts:
    """Size, alphabet, the longest line, and control characters. Validation is the test split, so it is left out."""
    rows: list[Row] = []
    everything: Counter[str] = Counter()
    for split in ("train", "test"):
        text = open_one(split).text
        letters = Counter(text)
        everything += letters
        lines = text.split("\n")
        rows.append(
            {
                "split": split,
                "characters": len(text),
                "lines": len(lines) - text.endswith("\n") if text else 0,
                "words": len(text.split()),
                "different characters": len(letters),
                "longest line": max(map(len, lines)),
            }
        )
    controls = {c: n for c, n in everything.items() if unicodedata.category(c) in ("Cc", "Cf") and c not in "\n\t"}
    beyond = sum(not c.isascii() for c in everything)
    sentences = [f"{len(everything):,} different characters, {beyond:,} of them beyond ASCII."]
    if controls:
        named = ", ".join(f"{safe_text(c)} ({n:,})" for c, n in list(controls.items())[:MOST_CONTROLS])
        sentences.append(
            f"Control characters: {named}{', …' if len(controls) > MOST_CONTROLS else ''}. They are learnt like any other, "
            "and written out wherever text is shown."
        )
    found = {"name": name, "splits": rows, "characters": len(everything), "controls": sum(controls.values())}
    return Facts([_shown(rows)], sentences, [], found)


def check_pairs(name: str, open_one: Callable[[str], PairSet]) -> Facts:
    """Counts, lengths in words, repeated pairs, and sentences of validation or test that training has too."""
    rows: list[Row] = []
    bad: dict[str, None] = {}
    trained: tuple[set[str], set[str]] = (set(), set())
    shared = [0, 0]
    languages = ("source", "target")
    for split in SPLITS:
        made = open_one(split)
        languages = made.languages
        bad.update(dict.fromkeys(made.notes))
        sides = list(zip(*made.pairs)) or [(), ()]
        for side in range(2):
            if split == "train":
                trained[side].update(sides[side])
            else:
                shared[side] += len(set(sides[side]) & trained[side])
        if not made.pairs:
            continue
        words = [[len(sentence.split()) for sentence in side] for side in sides]
        lengths = [{"mean": round(statistics.fmean(counts), 2), "most": max(counts)} for counts in words]
        repeated = len(made.pairs) - len(set(made.pairs))
        rows.append({"split": split, "pairs": len(made.pairs), "words": lengths, "repeated": repeated})
    table = [
        {
            "split": row["split"],
            "pairs": f"{row['pairs']:,}",
            **{f"words, {side}": f"{n['mean']:.1f}, at most {n['most']}" for side, n in zip(languages, row["words"])},
            "repeated": f"{row['repeated']:,}",
        }
        for row in rows
    ]
    sentences = [
        f"{count:,} different {language} sentence(s) of validation or test are in training too."
        for count, language in zip(shared, languages)
        if count
    ]
    found = {"name": name, "languages": list(languages), "splits": rows, "shared": shared}
    return Facts([table], sentences, list(bad), found)


def _shown(rows: list[Row]) -> list[Row]:
    return [{key: f"{v:,}" if isinstance(v, int) else v for key, v in row.items()} for row in rows]
