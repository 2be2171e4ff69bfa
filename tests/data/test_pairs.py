"""Pairs of sentences: batches alike in length, marks, splits that do not leak, and what no pairs are."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gentool.data.config import PairsConfig
from gentool.data.find import Where
from gentool.data.numbers import _chosen, english, german, numbers
from gentool.data.pairs import Pair, PairPipeline, PairSet
from gentool.data.pipeline import open_pipeline
from gentool.data.sentences import own, read_pairs, split_by_source
from gentool.errors import UsageError


def made(n: int = 200, seed: int = 1) -> list[Pair]:
    draw = random.Random(seed)

    def side(m: int) -> str:
        return " ".join(draw.choices(["one", "two", "three", "four", "five", "six"], k=m))

    return [(side(k), side(max(1, k + draw.randint(-3, 3)))) for k in (draw.randint(1, 25) for _ in range(n))]


def pipeline(pairs: list[Pair] | None = None, seed: int = 0, **settings: Any) -> PairPipeline:
    sets = {"train": made() if pairs is None else pairs, "validation": [], "test": made(30, 2)}
    return PairPipeline(lambda s: PairSet("p", s, sets[s], ("A", "B")), PairsConfig(**settings), "cpu", seed)


def rows(run: PairPipeline, batch: Any) -> list[tuple[int, str, str]]:
    """(index, source, target) as text again, the marks checked."""
    found = []
    source, target = run.tokenizer("source"), run.tokenizer("target")
    for i in range(len(batch)):
        s = batch.extra["source"][i].tolist()
        t = batch.extra["target"][i].tolist()
        a, b = int(batch.extra["source_length"][i]), int(batch.extra["target_length"][i])
        assert s[a - 1] == source.end
        assert set(s[a:]) <= {source.pad}
        assert t[0] == target.start
        assert t[b - 1] == target.end
        assert set(t[b:]) <= {target.pad}
        assert batch.mask[i].tolist() == [k < b - 1 for k in range(len(t) - 1)]
        found.append((int(batch.index[i]), source.decode(s[: a - 1]), target.decode(t[1 : b - 1])))
    return found


@pytest.mark.parametrize("kind", ["words", "characters", "bpe"])
def test_an_epoch_has_every_pair_once(kind: str) -> None:
    run = pipeline(tokens=kind, max_length=0)
    pairs = run.split("train").pairs
    for epoch in range(2):
        seen = [row for step in range(25) for row in rows(run, run.train_batch(epoch * 25 + step, 8))]
        assert sorted(i for i, _, _ in seen) == list(range(200))
        assert all(pairs[i] == (a, b) for i, a, b in seen)
    # int64 and padded to the longest row alone
    batch = run.train_batch(0, 8)
    assert batch.extra["source"].dtype == batch.extra["target"].dtype == torch.int64
    assert batch.extra["source"].shape[1] == batch.extra["source_length"].max()
    assert batch.terms == int((batch.extra["target_length"] - 1).sum())


def test_batches_are_functions_of_seed_and_step() -> None:
    run = pipeline(seed=4)
    straight = [run.train_batch(step, 8).index.tolist() for step in range(70)]  # type: ignore[union-attr]
    for step in (0, 69, 24, 25, 3):
        assert pipeline(seed=4).train_batch(step, 8).index.tolist() == straight[step]  # type: ignore[union-attr]
    assert pipeline(seed=5).train_batch(0, 8).index.tolist() != straight[0]  # type: ignore[union-attr]
    assert straight[:25] != straight[25:50]


def test_ranks_are_parts_of_one_batch() -> None:
    run = pipeline()
    whole = run.train_batch(3, 8).index
    parts = [run.train_batch(3, 4, rank, 2).index for rank in range(2)]
    assert torch.equal(torch.cat(parts), whole)  # type: ignore[arg-type]


def test_batches_are_full() -> None:
    """As the issue asks: nine tenths of all slots and more; in the order of the file it would be half."""
    run = pipeline(made(4000))
    full = slots = 0
    for step in range(4000 // 32):
        batch = run.train_batch(step, 32)
        for side in ("source", "target"):
            full += int(batch.extra[f"{side}_length"].sum())
            slots += batch.extra[side].numel()
    assert full / slots >= 0.9


def test_fewer_pairs_than_a_batch_come_again() -> None:
    run = pipeline(made(3))
    batch = run.train_batch(5, 8)
    assert len(batch) == 8
    assert set(batch.index.tolist()) == {0, 1, 2}  # type: ignore[union-attr]


def test_a_split_is_read_once() -> None:
    run = pipeline()
    seen = [row for batch in run.batches("test", 7) for row in rows(run, batch)]
    assert sorted(i for i, _, _ in seen) == list(range(30))
    limited = [i for batch in run.batches("test", 4, 10) for i in batch.index.tolist()]  # type: ignore[union-attr]
    assert sorted(limited) == list(range(10))
    assert not run.has("validation")
    assert list(run.batches("validation", 4)) == []


def test_settings() -> None:
    pairs = [("The  cat\u202f!", "Le\tchat"), ("A " * 30, "Un " * 30), ("dog", "chien")]
    run = pipeline(pairs, reverse=True, lower=True, max_length=5)
    assert run.split("train").pairs[0] == ("le chat", "the cat !")
    assert run.languages == ("B", "A")
    assert run.split("train").order.tolist() == [0, 2]
    assert run.count("train") == 2
    joint = pipeline(pairs, joint=True)
    assert joint.info.vocabularies["source"] == joint.info.vocabularies["target"]
    assert pipeline(pairs, limit=1).count("train") == 1
    with pytest.raises(UsageError, match="over 1 tokens"):
        pipeline([("a b", "c d")], max_length=1).count("train")


def test_the_test_split_is_never_cut_and_unknown_words_are_unknown() -> None:
    run = PairPipeline(
        lambda s: PairSet("p", s, [("a b", "c")] if s == "train" else [("a z " * 50, "c " * 99)]),
        PairsConfig(max_length=5), "cpu", 0,
    )  # fmt: skip
    batch = next(run.batches("test", 1))
    assert batch.extra["source"].shape == (1, 101)
    assert batch.extra["source"][0, :2].tolist() == [4, 3]


def test_a_model_of_the_other_direction_is_refused() -> None:
    run, other = pipeline(), pipeline(reverse=True)
    with pytest.raises(UsageError, match="goes from A to B, but the model was trained from B to A"):
        run.check(other.info)
    run.check(run.info)


def test_the_fingerprint_follows_the_pairs_and_the_settings() -> None:
    runs = [pipeline(), pipeline(made(199)), pipeline(reverse=True), pipeline(tokens="bpe"), pipeline(max_length=10)]
    assert len({run.fingerprint() for run in runs}) == 5
    assert pipeline(seed=9).fingerprint() == runs[0].fingerprint()


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "said", "gesagt"),
    [
        (0, "zero", "null"),
        (1, "one", "eins"),
        (16, "sixteen", "sechzehn"),
        (21, "twenty one", "ein und zwanzig"),
        (70, "seventy", "siebzig"),
        (100, "one hundred", "ein hundert"),
        (101, "one hundred one", "ein hundert eins"),
        (1000, "one thousand", "ein tausend"),
        (1001, "one thousand one", "ein tausend eins"),
        (21_000, "twenty one thousand", "ein und zwanzig tausend"),
        (101_021, "one hundred one thousand twenty one", "ein hundert ein tausend ein und zwanzig"),
        (423_917, "four hundred twenty three thousand nine hundred seventeen",
         "vier hundert drei und zwanzig tausend neun hundert siebzehn"),
    ],
)  # fmt: skip
def test_number_words(n: int, said: str, gesagt: str) -> None:
    assert (english(n), german(n)) == (said, gesagt)


def parse(words: list[str], language: str) -> int:
    """Number words read back by their meaning: an oracle that shares no line with the rules."""
    value = {"zero": 0, "null": 0, "ein": 1, "und": 0}
    for n in range(1, 20):
        value[english(n)], value[german(n)] = n, n
    for n in range(20, 100, 10):
        value[english(n)], value[german(n)] = n, n
    total = part = 0
    for word in words:
        if word in ("hundred", "hundert"):
            part *= 100
        elif word in ("thousand", "tausend"):
            total, part = total + 1000 * part, 0
        else:
            part += value[word]
    return total + part


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 999_999))
def test_number_words_mean_the_number(n: int) -> None:
    assert parse(english(n).split(), "en") == n
    assert parse(german(n).split(), "de") == n


def test_numbers_of_one_split_are_in_no_other(where: Callable[..., Where]) -> None:
    chosen = _chosen()
    everything = [n for split in chosen.values() for n in split]
    assert len(set(everything)) == len(everything)
    assert {len(str(n)) for n in chosen["test"]} == {2, 3, 4, 5, 6}
    assert len(chosen["test"]) >= 1000
    sides = {split: set(numbers("", split, where()).pairs) for split in chosen}
    assert not sides["train"] & sides["test"]
    words = {word for pair in sides["train"] for side in pair for word in side.split()}
    assert {word for pair in sides["test"] for side in pair for word in side.split()} <= words


# -- files -------------------------------------------------------------------------------------------------------------


def test_one_source_is_in_one_split() -> None:
    pairs = [(f"Sentence {i // 3}{'!' if i % 2 else '.'}", f"Satz {i}") for i in range(600)]
    parts = {name: split_by_source(pairs, name, 40, salt=5) for name in ("train", "validation", "test")}
    assert len(parts["test"]) == len(parts["validation"]) == 40
    keys = [{a.strip("!.") for a, _ in part} for part in parts.values()]
    assert not keys[0] & keys[1]
    assert not keys[0] & keys[2]
    assert not keys[1] & keys[2]
    assert split_by_source(list(reversed(pairs)) and pairs, "test", 40, salt=5) == parts["test"]
    assert 512 <= len(parts["train"]) <= 520


WRONG = {
    "one column": (b"a\tb\nalone\n", "line 2: it has 1 column, not 2"),
    "three columns": (b"a\tb\tCC-BY\n", r"line 1: it has 3 columns, not 2; .*cut -f1,2"),
    "an empty side": (b"a\t\n", "line 1: a side is empty"),
    "a megabyte": (b"a\tb\n" + b"x" * 1_000_000 + b"\ty\n", "line 2: a side has 1,000,000 characters"),
    "latin": (b"a\tb\nc\t\xe9\n", "not UTF-8: byte 0xe9 in line 2"),
    "empty": (b"", "has no pairs"),
    "blank lines": (b"\n \n\r\n", "has no pairs"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_files_are_refused_in_a_sentence(tmp_path: Path, where: Callable[..., Where], case: str) -> None:
    data, why = WRONG[case]
    path = tmp_path / "x.tsv"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=why) as caught:
        own(str(path), "train", where())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_bad_lines_can_be_left_out(said: list[str], where: Callable[..., Where]) -> None:
    text = "a\tb\nalone\nc\td\te\n\x1b[2J\n" + "x" * 30_000 + "\ty\nf\tg"
    pairs, bad = read_pairs(text, "x.tsv", where(skip_bad=True))
    assert pairs == [("a", "b"), ("f", "g")]
    assert len(bad) == 4
    assert said == [
        "Left out of 'x.tsv': line 2: it has 1 column, not 2; line 3: it has 3 columns, not 2; "
        "line 4: it has 1 column, not 2 and 1 more."
    ]


def test_line_ends_and_controls(tmp_path: Path, where: Callable[..., Where]) -> None:
    path = tmp_path / "x.tsv"
    path.write_bytes(b"\xef\xbb\xbfGo.\tVa\xe2\x80\xaf!\r\na\x1b[31m\tb\r\n")
    run = open_pipeline(PairsConfig(name=f"pairs:{path}"))
    assert sorted(run.split("train").pairs) == [("Go.", "Va !"), ("a\x1b[31m", "b")]


def test_a_tenth_is_held_out_of_enough_pairs(tmp_path: Path, where: Callable[..., Where]) -> None:
    path = tmp_path / "x.tsv"
    for n, held in ((19, 0), (50, 5)):
        path.write_text("".join(f"s {i}\tt {i}\n" for i in range(n)))
        parts = [own(str(path), split, where()) for split in ("train", "validation", "test")]
        assert [len(part) for part in parts] == [n - 2 * held, held, held]
