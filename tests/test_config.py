"""Configs: precedence, provenance, and refusals that say what is allowed."""

from __future__ import annotations

import contextlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gentool.config import Layer, build_dataclass, check, describe, flatten, parse_set, read_file, resolve, to_toml
from gentool.errors import UsageError
from gentool.specs import option


@dataclass(frozen=True, kw_only=True)
class Sample:
    whole: int = option(3, "", ge=1, le=9)
    real: float = option(0.5, "", ge=0)
    flag: bool = option(False, "")
    word: str = option("a", "")
    choice: Literal["adam", "sgd"] = option("adam", "")
    pair: tuple[float, float] = option((0.9, 0.99), "")
    many: tuple[int, ...] = option((1, 2), "")


def test_precedence_and_provenance() -> None:
    low = Layer("file a.toml", {"train.steps": 7, "train.seed": 1})
    high = Layer("--set", {"train.steps": 8})
    config = resolve("vae", [low, high], "debug")
    assert config.get("train.steps") == 8
    assert config.values["train.steps"].source == "--set"
    assert config.values["train.seed"].source == "file a.toml"
    assert config.values["optim.model.eps"].source == "default"
    assert config["train"].steps == 8


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("train.stesp", 5, "Did you mean 'train.steps'"),
        ("optim.modle.lr", 0.1, "Did you mean 'optim.model.lr'"),
        ("train.steps", "many", "a whole number"),
        ("train.steps", 1.5, "a whole number"),
        ("train.steps", True, "a whole number"),
        ("train.batch_size", 0, "at least 1"),
        ("optim.model.lr", float("inf"), "a number"),
        ("optim.model.lr", float("nan"), "a number"),
        ("optim.model.name", "adm", "Did you mean 'adam'"),
        ("optim.model.betas", [0.9], "a list of 2"),
        ("train.compile", "maybe", "true or false"),
        ("model.name", "pixelcnn", "for the model"),
        ("loss.name", "nll", "does not fit"),
    ],
)
def test_refusals_name_the_key_and_what_is_allowed(key: str, value: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve("vae", [Layer("my.toml", {key: value})])
    assert words in str(caught.value)
    assert "my.toml" in str(caught.value) or "does not fit" in str(caught.value)


def test_an_unknown_preset_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="has no preset 'debgu'. Did you mean 'debug'"):
        resolve("vae", preset="debgu")


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("a.b=3", 3),
        ("a.b=3.5", 3.5),
        ("a.b=1e-4", 1e-4),
        ("a.b=true", True),
        ("a.b=mnist", "mnist"),
        ("a.b=folder:./x y", "folder:./x y"),
        ("a.b=[0.5, 0.9]", [0.5, 0.9]),
        ("a.b=", ""),
        ("a.b=a=b", "a=b"),
    ],
)
def test_set_reads_toml_and_takes_the_rest_as_text(pair: str, value: object) -> None:
    assert parse_set([pair]) == {"a.b": value}


@pytest.mark.parametrize("pair", ["a.b", "=3", "", " = 1"])
def test_set_wants_key_and_value(pair: str) -> None:
    with pytest.raises(UsageError, match="KEY=VALUE"):
        parse_set([pair])


@given(st.text(max_size=60))
def test_set_never_raises_anything_else(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_set([text])


def test_written_configs_read_back_the_same(tmp_path: Path) -> None:
    config = resolve(
        "vae", [Layer("--set", {"optim.model.betas": [0.5, 0.9], "train.minutes": 2, "data.name": "digits"})]
    )
    for documented in (True, False):
        file = tmp_path / "c.toml"
        file.write_text(to_toml(config, documented=documented))
        again = resolve("vae", [Layer("file", read_file(file))])
        assert {k: v.value for k, v in again.values.items()} == {k: v.value for k, v in config.values.items()}


@pytest.mark.parametrize(
    "content",
    [b"a = ", b"\xff\xfe", b"[" * 100_000, b"x = " + b"9" * 5000, b"[a]\nb=1\n[a]\nb=2\n", b"\x00" * 10],
    ids=["torn", "bytes", "nesting", "digits", "twice", "nul"],
)
def test_a_file_that_is_no_config_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match="not valid TOML"):
        read_file(file)


def test_a_whole_number_will_do_for_a_number_but_not_the_other_way() -> None:
    assert check(Sample, "real", "real", 2, "x") == 2.0
    with pytest.raises(UsageError):
        check(Sample, "whole", "whole", 2.0, "x")


@given(st.integers(-20, 20))
def test_limits_are_the_declared_ones(value: int) -> None:
    if 1 <= value <= 9:
        assert build_dataclass(Sample, {"whole": value}, "x").whole == value
    else:
        with pytest.raises(UsageError, match="at least 1 and at most 9"):
            build_dataclass(Sample, {"whole": value}, "x")


def test_tuples_come_from_lists() -> None:
    made = build_dataclass(Sample, {"pair": [1, 2], "many": [4]}, "x")
    assert made.pair == (1.0, 2.0)
    assert made.many == (4,)


def test_descriptions_are_words() -> None:
    assert describe(Sample, "choice") == "one of adam, sgd"
    assert describe(Sample, "many") == "a list, each a whole number"


def test_flatten_is_the_inverse_of_nesting() -> None:
    assert flatten(tomllib.loads("[a.b]\nc = 1\n[d]\ne = [1, 2]")) == {"a.b.c": 1, "d.e": [1, 2]}
