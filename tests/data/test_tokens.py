"""Tokenizers: round trips, what is unknown, what is kept in a checkpoint."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gentool.data.batch import DataInfo
from gentool.data.tokens import Bpe, Characters, Tokenizer, Words, from_json, learn, tokenizer
from gentool.errors import UsageError

TEXT = "It's l'homme qu'il (a--b) \"x\", don't 3.5 ß 漢字! The cat sat on the mat; the cat did."
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="￭"), max_size=60)


def again(made: Tokenizer) -> Tokenizer:
    """As a checkpoint's header brings it back."""
    return from_json(json.loads(json.dumps(made.to_json())))


@pytest.mark.parametrize("marks", [False, True])
@pytest.mark.parametrize("kind", ["characters", "words", "bpe"])
def test_a_text_comes_back_and_so_does_the_tokenizer(kind: str, marks: bool) -> None:
    made = learn(kind, lambda: [TEXT] * 3, size=300, marks=marks)
    ids = made.encode(TEXT)
    assert made.decode(ids) == TEXT
    assert all(0 <= i < made.size for i in ids)
    assert len(made.pieces(TEXT)) == len(ids)
    assert made.join(made.pieces(TEXT)) == TEXT
    other = again(made)
    assert (other.kind, other.size, other.pad, other.start, other.end, other.unk) == (
        made.kind, made.size, made.pad, made.start, made.end, made.unk,
    )  # fmt: skip
    assert other.encode(TEXT) == ids
    assert [made.token(i) for i in range(4)] == (["<pad>", "<start>", "<end>", "<unk>"] if marks else [
        made.token(i) for i in range(4)
    ])  # fmt: skip
    if marks:
        assert made.decode([made.start, *ids, made.end, made.pad]) == TEXT


@settings(max_examples=300, deadline=None)
@given(ANY)
def test_words_give_any_text_back_but_for_its_spaces(text: str) -> None:
    plain = " ".join(text.split())
    made = Words.learn([plain])
    assert made.decode(made.encode(plain)) == plain


@settings(max_examples=100, deadline=None)
@given(ANY, ANY)
def test_byte_pairs_read_any_text(learnt: str, text: str) -> None:
    made = Bpe.learn([learnt * 3], 270)
    assert made.decode(made.encode(text)) == text
    assert sum(made.letters(i) for i in made.encode(text)) == len(text)


def test_letters_of_a_character_are_one() -> None:
    made = Characters("ab漢")
    assert [made.letters(i) for i in range(3)] == [1, 1, 1]


def test_marks_in_the_text_are_text() -> None:
    made = Bpe.learn(["<pad> <end> "] * 9, 300, marks=True)
    ids = made.encode("<end><pad>")
    assert not set(ids) & {0, 1, 2, 3}
    assert made.decode(ids) == "<end><pad>"


def test_the_cut_byte_of_a_character_is_shown_as_such() -> None:
    made = Bpe([])
    ids = made.encode("é")
    assert len(ids) == 2
    assert made.decode(ids[:1]) == "\ufffd"


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("It's fine.", ["It", "￭'s", "fine", "￭."]),
        ("l'homme qu'il", ["l'￭", "homme", "qu'￭", "il"]),
        ("(a-b)", ["(￭", "a", "￭-￭", "b", "￭)"]),
        ("a , b", ["a", ",", "b"]),
        ("l'l'a", ["l'￭", "l'￭", "a"]),
    ],
)
def test_where_words_are_cut(text: str, pieces: list[str]) -> None:
    assert Words([]).pieces(text) == pieces


def test_words_are_ranked_by_frequency_then_alphabet() -> None:
    texts = ["b a c b", "b c d"]
    counts = Counter(["b", "a", "c", "b", "b", "c", "d"])
    made = Words.learn(texts)
    assert list(made.words) == sorted(counts, key=lambda w: (-counts[w], w)) == ["b", "c", "a", "d"]
    assert Words.learn(texts, most=2).words == ("b", "c")
    assert Words.learn(texts, min_frequency=2).words == ("b", "c")
    unknown = Words.learn(texts, most=2).encode("b x c")
    assert unknown == [4, 3, 5]
    assert Words.learn(texts, most=2).decode(unknown) == "b <unk> c"
    assert Words.learn(["The the"], lower=True).words == ("the",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("abx", r"lacks 'x' \(the first at character 3\)"),
        ("ab\na\x1b[2J", r"lacks '\\x1b', '\[', '2', 'J' \(the first at line 2, character 2\)"),
        ("漢" * 3 + "défghijklmn", r"and 4 more"),
        ("a\u202eb", r"'\\u202e'"),
    ],
)
def test_unknown_characters_are_named(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        Characters("ab\n").encode(text)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_lone_surrogate_is_refused() -> None:
    for made in (Bpe([]), Characters("ab")):
        with pytest.raises(UsageError):
            made.encode("a\udcff")


def test_by_role_from_the_description_of_the_data() -> None:
    info = DataInfo(name="x\x1b", vocabularies={"source": Characters("ab").to_json()})
    assert tokenizer(DataInfo.from_json(json.loads(json.dumps(info.to_json()))), "source").encode("ba") == [1, 0]
    with pytest.raises(UsageError, match=r"no vocabulary 'text' \(there is: source\)") as caught:
        tokenizer(info)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {"kind": "runes", "marks": True},
        {"kind": "bpe", "marks": True, "merges": "a b c"},
        {"kind": "words", "marks": 1},
    ],
)
def test_a_damaged_vocabulary_is_a_sentence(damaged: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="damaged"):
        from_json(damaged)


def test_byte_pairs_are_the_same_in_every_process() -> None:
    code = (
        "import random; from gentool.data.tokens import Bpe; random.seed(1);"
        "words = [''.join(random.choices('abcdef', k=random.randint(1, 7))) for _ in range(400)];"
        "print(hash(str(Bpe.learn([' '.join(random.choices(words, k=3000))], 600).to_json())))"
    )
    run = lambda: subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={  # noqa: E731
        "PYTHONHASHSEED": "0", "PATH": ""}).stdout  # fmt: skip
    assert run() == run()
