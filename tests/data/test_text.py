"""The streams of a text: contiguous, fresh where they begin, every token once; and what no text is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gentool.config import build_dataclass
from gentool.data.config import TextConfig
from gentool.data.find import Where
from gentool.data.pipeline import open_pipeline
from gentool.data.text import TextPipeline, TextSet
from gentool.data.texts import decode, own, pydocs
from gentool.errors import UsageError


def letters(n: int) -> str:
    """A text in which every place can be told: no character comes twice."""
    return "".join(chr(0x4E00 + i) for i in range(n))


def pipeline(n: int, seed: int = 0, test: int = 40, **settings: Any) -> TextPipeline:
    """A pipeline over `letters`, whose ids are the places."""
    sets = {"train": letters(n), "test": letters(n + test)[n:], "validation": letters(n + test)[n:]}
    return TextPipeline(lambda split: TextSet("t", split, sets[split]), TextConfig(**settings), "cpu", seed)


@settings(max_examples=150, deadline=None)
@given(n=st.integers(2, 90), window=st.integers(1, 20), rows=st.integers(1, 6), seed=st.integers(0, 5))
def test_rows_go_on_where_they_ended(n: int, window: int, rows: int, seed: int) -> None:
    run = pipeline(n, seed, window=min(window, n - 1))
    window = run.config.window
    before = None
    begun = 0
    for step in range(40):
        batch = run.train_batch(step, rows)
        assert batch.tokens is not None
        assert batch.fresh is not None
        assert batch.tokens.shape == (rows, window + 1)
        assert torch.equal(batch.targets, batch.inputs + 1)  # neighbours in the text
        assert batch.index is not None
        assert batch.index.tolist() == list(range(rows))
        on = batch.fresh.logical_not()
        if before is None:
            assert not on.any()
        else:
            assert torch.equal(batch.tokens[on, 0], before[on, -1])
            begun += int(batch.fresh.sum())
        before = batch.tokens
    if n < 30:
        assert begun > 0


def test_a_pass_reads_all_but_the_ends() -> None:
    """Rows together read every token in each pass but for less than two windows."""
    run = pipeline(1000, window=10)
    steps = -(-99 // 4)
    seen = torch.cat([run.train_batch(step, 4).targets.flatten() for step in range(steps)])
    assert len(seen.unique()) > 1000 - 20 - 4 * 10


def test_windows_are_cut_elsewhere_in_each_pass_and_with_each_seed() -> None:
    def starts(seed: int) -> list[int]:
        run = pipeline(1000, seed, window=10)
        return [int(run.train_batch(step, 1).tokens[0, 0]) for step in range(0, 99 * 8, 99)]  # type: ignore[index]

    assert len(set(starts(0))) > 3
    assert starts(0) != starts(1)
    assert starts(1) == starts(1)


def test_a_step_is_a_function_of_its_number() -> None:
    run = pipeline(500, 3, window=7)
    straight = [run.train_batch(step, 5).tokens for step in range(200)]
    for step in (0, 150, 7, 199):
        assert torch.equal(pipeline(500, 3, window=7).train_batch(step, 5).tokens, straight[step])  # type: ignore[arg-type]


def test_ranks_are_rows_of_one_batch() -> None:
    run = pipeline(500, window=7)
    whole = run.train_batch(9, 6).tokens
    parts = [run.train_batch(9, 3, rank, 2).tokens for rank in range(2)]
    assert torch.equal(torch.cat(parts), whole)  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(n=st.integers(0, 200), window=st.integers(1, 30), size=st.integers(1, 40), limit=st.integers(0, 9))
def test_a_split_is_read_once_in_contiguous_streams(n: int, window: int, size: int, limit: int) -> None:
    run = pipeline(40, test=n, window=window)
    seen: list[int] = []
    last: torch.Tensor | None = None
    terms = 0
    for number, batch in enumerate(run.batches("test", size, limit or None)):
        assert len(batch) <= min(size, 16)
        assert batch.fresh is not None
        assert bool(batch.fresh.all()) == (number == 0)
        assert batch.fresh.any() == batch.fresh.all()
        assert batch.mask is not None
        assert batch.tokens is not None
        if last is not None:
            assert torch.equal(batch.tokens[batch.mask[:, 0], 0], last[batch.mask[:, 0]])
        last = batch.tokens[:, -1]
        seen += batch.targets[batch.mask].tolist()
        assert (batch.targets[~batch.mask] == -100).all()
        terms += batch.terms
    total = max(0, n - 1)
    total = min(total, limit * window) if limit else total
    assert sorted(seen) == list(range(41, 41 + total))
    assert terms == total
    assert run.count("test") == -(-max(0, n - 1) // window)
    assert run.has("test") == (n > 1)


def test_the_limit_is_of_characters_and_the_vocabulary_of_all() -> None:
    run = pipeline(200, limit=50, window=4)
    assert len(run.split("train")) == 50
    assert run.tokenizer.size == 240


def test_a_fingerprint_is_of_text_and_vocabulary() -> None:
    prints = {
        pipeline(100, window=8).fingerprint(),
        pipeline(101, window=8).fingerprint(),
        pipeline(100, test=41, window=8).fingerprint(),
        pipeline(100, window=8, limit=90).fingerprint(),
        pipeline(100, tokens="bpe", vocabulary=300, window=8).fingerprint(),
    }
    assert len(prints) == 5
    assert pipeline(100, seed=1, window=8).fingerprint() in prints


def test_byte_pairs_are_learnt_from_training_alone() -> None:
    sets = {"train": "ab " * 50, "test": "xyz " * 50, "validation": ""}
    run = TextPipeline(lambda s: TextSet("t", s, sets[s]), TextConfig(tokens="bpe", vocabulary=300, window=4), "cpu", 0)
    assert {run.tokenizer.token(i) for i in range(256, run.tokenizer.size)} <= {"ab", " a", " ab"}
    assert run.tokenizer.decode(run.split("test").ids.tolist()) == sets["test"]


def test_another_text_is_read_by_a_models_own_vocabulary() -> None:
    from gentool.data.tokens import Characters

    own_words = {"text": Characters(letters(30)).to_json()}
    sets = {"train": letters(20), "test": letters(40), "validation": ""}
    run = TextPipeline(lambda s: TextSet("t", s, sets[s]), TextConfig(window=4), "cpu", 0, own_words)
    assert run.info.vocabularies == own_words
    assert run.has("train")
    with pytest.raises(UsageError, match="lacks"):
        run.has("test")


# -- what is read ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\r\nb\rc\n", "a\nb\nc\n"),
        (b"\xef\xbb\xbfbom", "bom"),
        ("é漢".encode(), "é漢"),
        (b"a\x1b[2J\x00b", "a\x1b[2J\x00b"),
    ],
)
def test_line_ends_and_marks(data: bytes, text: str) -> None:
    assert decode(data, "x") == text


def wrong(tmp_path: Path) -> dict[str, tuple[bytes, dict[str, Any], str]]:
    return {
        "empty": (b"", {}, "is empty"),
        "only a mark": (b"\xef\xbb\xbf", {}, "is empty"),
        "one character": (b"a", {}, "is empty|at least two"),
        "two characters": (b"ab", {}, "1 token.*at least two"),
        "shorter than a window": (
            b"hello there, world" * 2,
            {},
            r"has 32 tokens, too few for a window of 128.*window=31",
        ),
        "latin": (b"caf\n\xe9", {}, r"not UTF-8: byte 0xe9 in line 2; convert it"),
        "cut within a character": ("漢".encode()[:2], {}, "not UTF-8"),
        "utf-16": ("hello".encode("utf-16"), {}, "not UTF-8"),
    }


@pytest.mark.parametrize("case", wrong(Path()))
def test_bad_texts_are_refused_in_a_sentence(tmp_path: Path, case: str) -> None:
    data, settings, why = wrong(tmp_path)[case]
    path = tmp_path / "x.txt"
    path.write_bytes(data)
    config = build_dataclass(TextConfig, {"name": f"text:{path}", **settings}, "test")
    with pytest.raises(UsageError, match=why) as caught:
        open_pipeline(config).train_batch(0, 4)
    assert "\n" not in str(caught.value)


def test_no_file_a_folder_a_pipe(tmp_path: Path, where: Callable[..., Where]) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for name, why in (("none", "no file"), ("", "cannot be read"), ("pipe", "not a regular file")):
        with pytest.raises(UsageError, match=why):
            own(str(tmp_path / name), "train", where())


def test_a_line_of_a_megabyte_and_controls_are_text(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("ab\x1b[31m" * 150_000)
    run = open_pipeline(TextConfig(name=f"text:{path}"))
    batch = run.train_batch(3, 8)
    assert batch.tokens.shape == (8, 129)
    assert run.tokenizer.decode(batch.tokens[0].tolist()).count("\x1b") > 5
    run = open_pipeline(TextConfig(name=f"text:{path}", tokens="bpe", vocabulary=300))
    assert run.tokenizer.decode(run.split("test").ids.tolist()) == run.split("test").text


def test_pydocs_is_ascii_in_two_splits(where: Callable[..., Where]) -> None:
    train, test = (pydocs("", split, where()) for split in ("train", "test"))
    assert train.text.isascii()
    assert len(train) == int(0.9 * (len(train) + len(test)))
    assert set(train.text + test.text) <= set(train.alphabet)
    assert len(train.alphabet) == 96
    assert "python" in train.extra
    assert 'The "assert" statement' in train.text


def test_preview_shows_what_is_trained_on() -> None:
    run = pipeline(300, window=5)
    batch = run.train_batch(0, 3)
    assert run.preview("train", 3).text == [run.tokenizer.decode(row.tolist()) for row in batch.tokens]  # type: ignore[union-attr]
    assert run.preview("test", 2).text == [letters(340)[300:306], letters(340)[305:311]]
