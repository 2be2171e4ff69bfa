"""Translations of a prompt's sentences, or, without one, of the sentences that a checkpoint carries from its test data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from gentool import HeatMap, Partial, Samples, Step, UsageError
from gentool_seq2seq.search import Hypothesis, Search, Unfinished, progress
from gentool_seq2seq.words import encoded, heat_map, written

MOST_SENTENCES = 10_000  # of one prompt


def beam(
    model: Any,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    prompt: str = "",
    width: int = 5,
    length_penalty: float = 1.0,
    max_length: int = 0,
    replace_unknown: bool = True,
) -> Iterator[Partial | Samples]:
    """The n best translations of each line of the prompt, the best first."""
    if prompt.strip() and step.total > 1:
        raise UsageError(
            f"The {n} best are looked for at once, and here that is a part of what -n asks for; ask for fewer, or raise "
            "--batch-size."
        )
    how = Search(beam=width, length_penalty=length_penalty, longest=max_length)
    yield from _translations(model, n, how, step, prompt, replace_unknown)


def greedy(
    model: Any,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    prompt: str = "",
    max_length: int = 0,
    replace_unknown: bool = True,
) -> Iterator[Partial | Samples]:
    """One translation of each line of the prompt, made of the likeliest word at every step."""
    if prompt.strip() and (n > 1 or step.total > 1):
        raise UsageError("Greedy search finds one translation; leave out -n, or use --sampler beam or multinomial.")
    yield from _translations(model, n, Search(beam=1, longest=max_length), step, prompt, replace_unknown)


def multinomial(
    model: Any,
    n: int,
    *,
    step: Step,
    labels: Tensor | None = None,
    prompt: str = "",
    temperature: float = 1.0,
    max_length: int = 0,
    replace_unknown: bool = True,
) -> Iterator[Partial | Samples]:
    """n translations of each line of the prompt, every word drawn from softmax(logits / temperature)."""
    how = Search(sample=True, temperature=temperature, longest=max_length)
    yield from _translations(model, n, how, step, prompt, replace_unknown)


def sentences_of(model: Any, prompt: str) -> list[str]:
    """The lines of a prompt that are not empty; without any, the sentences that the checkpoint carries."""
    lines = [" ".join(line.split()) for line in prompt.split("\n")]
    lines = [line for line in lines if line]
    if len(lines) > MOST_SENTENCES:
        raise UsageError(
            f"A prompt has at most {MOST_SENTENCES:,} lines, and this one has {len(lines):,}; translate it in parts."
        )
    if lines:
        return lines
    carried = [str(line) for line in model.info.extra.get("examples", ())]
    if not carried:
        raise UsageError("There is nothing to translate: give a sentence with --prompt.")
    return carried


def _translations(
    model: Any, n: int, how: Search, step: Step, prompt: str, replace: bool
) -> Iterator[Partial | Samples]:
    sources = sentences_of(model, prompt)
    own = not prompt.strip()  # the model's own sentences: say which, one translation each
    if own:
        sources = [sources[i % len(sources)] for i in range(n)]
    else:
        how = Search(**{**vars(how), "best": n})
    source, length = encoded(model, sources, step.device)
    total = how.longest or 2 * int(length.max()) + 10
    drawn = how.sample or how.beam == 1  # what is written stays written
    for done, found in enumerate(progress(model, source, length, how, step=step, watch=drawn), 1):
        if isinstance(found, Unfinished):
            text = _so_far(model, sources, found.ids, own) if len(sources) == n == 1 else None
            yield Partial(min(done, total), total, text=text)
        else:
            maps = _maps(model, sources, found, source.tolist()) if own and model.attention is not None else {}
            yield Samples(text=_texts(model, sources, found, own, replace), heatmaps=maps)


def _texts(
    model: Any, sources: Sequence[str], found: Sequence[Sequence[Hypothesis]], own: bool, replace: bool
) -> list[str]:
    made = []
    for source, hypotheses in zip(sources, found, strict=True):
        made += [(f"{source}\t" if own else "") + written(model, source, one, replace=replace) for one in hypotheses]
    return made


def _maps(
    model: Any, sources: Sequence[str], found: Sequence[Sequence[Hypothesis]], ids: Sequence[Sequence[int]]
) -> dict[str, list[HeatMap]]:
    """What each translation looked at: of the model's own sentences, by which a training is watched."""
    every = zip(sources, found, ids, strict=True)
    return {"attention": [heat_map(model, text, one, row) for text, hypotheses, row in every for one in hypotheses]}


def _so_far(model: Any, sources: Sequence[str], found: Sequence[Sequence[int]], own: bool) -> list[str]:
    """What is certain so far: up to an unknown word, which is to be replaced in the end."""
    made = []
    for source, ids in zip(sources, found, strict=True):
        stop = next((i for i, token in enumerate(ids) if token in (model.target.end, model.target.unk)), len(ids))
        made.append((f"{source}\t" if own else "") + model.target.decode(ids[:stop]))
    return made
