"""Looking for a translation: greedily, by a beam, or by drawing. Whole batches at once; what a sentence gets by the first
two does not depend on the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gentool import Step

if TYPE_CHECKING:
    from gentool_seq2seq.cells import State
    from gentool_seq2seq.model import Memory


@dataclass(frozen=True, kw_only=True)
class Search:
    """How to look. beam: hypotheses kept (1: greedy). length_penalty: alpha of `normaliser`. sample: draw instead, of
    softmax(logits / temperature). longest: most tokens of a translation; 0: twice the source's and 10 more. best: how many
    hypotheses of each source are wanted (of a beam the n best, else so many draws)."""

    beam: int = 5
    length_penalty: float = 1.0
    sample: bool = False
    temperature: float = 1.0
    longest: int = 0
    best: int = 1


@dataclass
class Hypothesis:
    """A translation. tokens: without <start> and <end>; log_prob: nats, <end> counted; score: what it is ranked by;
    attention (tokens + 1, N): the weights of each step, <end>'s too, or None."""

    tokens: list[int]
    log_prob: float
    score: float
    attention: Tensor | None = None
    ended: bool = True


@dataclass
class Unfinished:
    """The ids of each source's leading hypothesis so far."""

    ids: list[list[int]]


Found = list[list[Hypothesis]]


def normaliser(length: int, alpha: float) -> float:
    """lp(Y) = (5 + |Y|)^alpha / 6^alpha (Wu et al. 2016, equation 14): a hypothesis is ranked by log p(Y) / lp(Y).

    Without it (alpha = 0) short hypotheses win, since every further token costs. |Y| counts <end>.
    """
    return float(((5 + length) / 6) ** alpha)


@torch.no_grad()
def search(model: Any, source: Tensor, source_length: Tensor, how: Search, *, step: Step) -> Found:
    """For each source (B, N) its `how.best` hypotheses, the best first."""
    *_, last = progress(model, source, source_length, how, step=step, watch=False)
    assert not isinstance(last, Unfinished)
    return last


@torch.no_grad()
def progress(
    model: Any, source: Tensor, source_length: Tensor, how: Search, *, step: Step, watch: bool = True
) -> Iterator[Unfinished | Found]:
    """As `search`; with `watch` it first gives, step by step, what is leading so far."""
    memory, state = model.encode(source, source_length)
    most = [how.longest or 2 * int(n) + 10 for n in source_length]
    if how.sample or (how.beam == 1 and how.best == 1):
        yield from _one_path(model, memory, state, most, how, step, watch)
    else:
        yield from _beam(model, memory, state, most, how, watch)


def _log_probs(model: Any, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """log p of every token (B, K, V); <pad> and <start> are never written."""
    logits = logits.double() if logits.dtype == torch.float64 else logits.float()
    logits[..., [model.target.pad, model.target.start]] = -math.inf
    return (logits / temperature).log_softmax(-1)


# -- greedy and drawn --------------------------------------------------------------------------------------------------


def _one_path(
    model: Any, memory: Memory, state: State, most: list[int], how: Search, step: Step, watch: bool
) -> Iterator[Unfinished | Found]:
    """`how.best` independent paths a source: the likeliest token of each step, or one drawn from its distribution."""
    rows, paths, end = len(memory.mask), how.best if how.sample else 1, model.target.end
    state = {name: tensor.expand(-1, paths, *tensor.shape[2:]) for name, tensor in state.items()}
    tokens = torch.full((rows, paths), model.target.start, device=memory.mask.device)
    total = torch.zeros(rows, paths, dtype=torch.float64, device=tokens.device)
    longest = torch.tensor(most, device=tokens.device)[:, None]
    open_ = torch.ones_like(tokens, dtype=torch.bool)
    written, weights, lengths = [], [], torch.zeros_like(tokens)
    for i in range(max(most)):
        logits, state, alpha = model.advance(tokens, memory, state)
        if how.sample:
            # Gumbel-max: argmax of log p + noise is a draw, and each path has numbers of its own.
            log_p = _log_probs(model, logits, how.temperature)
            u = step.uniform(rows, paths, log_p.shape[-1], purpose=f"token {i}").double().clamp_(min=1e-300)
            tokens = (log_p - u.log_().neg_().log_()).argmax(-1)
        else:
            log_p = _log_probs(model, logits)
            tokens = log_p.argmax(-1)
        total += torch.where(open_, log_p.gather(-1, tokens[..., None])[..., 0].double(), 0.0)
        written.append(tokens)
        weights.append(alpha)
        lengths += open_
        open_ = open_ & (tokens != end) & (lengths < longest)
        if not open_.any():
            break
        if watch:
            so_far = torch.stack(written, -1)[:, 0].tolist()
            yield Unfinished([path[: int(n)] for path, n in zip(so_far, lengths[:, 0], strict=True)])
    ids, counts, sums = torch.stack(written, -1).tolist(), lengths.tolist(), total.tolist()
    looked = None if weights[0] is None else torch.stack([w for w in weights if w is not None], 2)
    found: Found = []
    for b in range(rows):
        made = []
        for p in range(paths):
            path = ids[b][p][: counts[b][p]]
            ended = path[-1] == end
            made.append(
                Hypothesis(
                    tokens=path[:-1] if ended else path,
                    log_prob=sums[b][p],
                    score=sums[b][p] / normaliser(len(path), how.length_penalty),
                    attention=None if looked is None else looked[b, p, : len(path)].cpu(),
                    ended=ended,
                )
            )
        found.append(made)
    yield found


# -- beam --------------------------------------------------------------------------------------------------------------


@dataclass
class _Step:
    """What is needed to go back: the sources still open, and for each of their hypotheses its token and its parent."""

    place: dict[int, int]  # source -> row
    tokens: list[list[int]]
    parents: list[list[int]]
    weights: Tensor | None


@dataclass
class _Ended:
    """The hypotheses of one source that have ended: (score, log p, step, hypothesis), the best first."""

    width: int
    found: list[tuple[float, float, int, int]] = field(default_factory=list)

    def add(self, score: float, log_prob: float, at: int, parent: int) -> None:
        self.found.append((score, log_prob, at, parent))
        self.found.sort(key=lambda one: -one[0])
        del self.found[self.width :]


def _beam(
    model: Any, memory: Memory, state: State, most: list[int], how: Search, watch: bool
) -> Iterator[Unfinished | Found]:
    """Beam search (Sutskever et al. 2014, section 3.2) with length normalisation.

    Each step extends the `width` open hypotheses of a source by every token and keeps the `width` likeliest; those that
    end are put aside. A source is done when none of its open hypotheses can still beat the worst of `width` ended ones.
    """
    width, alpha = max(how.beam, how.best), how.length_penalty
    end, rows, device = model.target.end, len(memory.mask), memory.mask.device
    sources = list(range(rows))  # those still open, by row
    tokens = torch.full((rows, 1), model.target.start, device=device)
    log_p = torch.zeros(rows, 1, dtype=torch.float64, device=device)
    ended = [_Ended(width) for _ in range(rows)]
    left: list[list[tuple[float, int, int]]] = [[] for _ in range(rows)]  # open ones where the steps ran out
    steps: list[_Step] = []
    for i in range(max(most)):
        logits, state, weights = model.advance(tokens, memory, state)
        total = log_p[..., None] + _log_probs(model, logits).double()
        vocabulary = total.shape[-1]
        # At most `width` of these end, one for each parent: as many again are open.
        best, at = total.flatten(1).topk(min(2 * width, total[0].numel()))
        parents, tokens = at // vocabulary, at % vocabulary
        is_end = (tokens == end) & best.isfinite()
        for row, column in is_end.nonzero().tolist():
            value = float(best[row, column])
            ended[sources[row]].add(value / normaliser(i + 1, alpha), value, i, int(parents[row, column]))
        steps.append(_Step({b: r for r, b in enumerate(sources)}, [], [], weights))
        order = torch.where(is_end | (tokens == end), -math.inf, best).topk(min(width, best.shape[1]))
        log_p, chosen = order.values, order.indices
        tokens, parents = tokens.gather(1, chosen), parents.gather(1, chosen)
        steps[-1].tokens, steps[-1].parents = tokens.tolist(), parents.tolist()
        keep = []
        for row, b in enumerate(sources):
            ahead = float(log_p[row, 0])
            if i + 1 >= most[b]:
                left[b] = [(float(log_p[row, k]), i, k) for k in range(log_p.shape[1])]
            elif math.isfinite(ahead) and _may_win(ended[b], ahead, i + 2, most[b], alpha):
                keep.append(row)
        if not keep:
            break
        if len(keep) < len(sources):
            index = torch.tensor(keep, device=device)
            sources = [sources[row] for row in keep]
            memory = memory.pick(index)
            tokens, parents, log_p = tokens[index], parents[index], log_p[index]
            state = {name: tensor[index] for name, tensor in state.items()}
        state = {name: _pick(tensor, parents) for name, tensor in state.items()}
        if watch:
            yield Unfinished([_leading(steps, b) for b in range(rows)])
    yield [_results(steps, ended[b], left[b], b, how) for b in range(rows)]


def _may_win(ended: _Ended, log_prob: float, length: int, longest: int, alpha: float) -> bool:
    """Whether an open hypothesis of that log p can still come to a better score than the worst of the ended ones.

    A log p only falls, and is divided by what grows with the length if alpha > 0 (falls, if alpha < 0).
    """
    if len(ended.found) < ended.width:
        return True
    best = log_prob / max(normaliser(length, alpha), normaliser(longest, alpha))
    return best > ended.found[-1][0]


def _pick(tensor: Tensor, parents: Tensor) -> Tensor:
    """The state of each hypothesis' parent: (B, K, ...) by (B, K')."""
    rows = torch.arange(len(tensor), device=tensor.device)[:, None]
    return tensor[rows, parents]


def _leading(steps: list[_Step], b: int) -> list[int]:
    """The likeliest open hypothesis of a source so far (of a closed one: as it stood when it was closed)."""
    last = max(i for i, step in enumerate(steps) if b in step.place)
    return _path(steps, b, last, 0)[0]


def _path(steps: list[_Step], b: int, last: int, k: int) -> tuple[list[int], list[Tensor]]:
    """Tokens and weights of a source's hypothesis k at step `last`, from its first step on."""
    tokens: list[int] = []
    weights: list[Tensor] = []
    for step in reversed(steps[: last + 1]):
        row = step.place[b]
        tokens.append(step.tokens[row][k])
        k = step.parents[row][k]
        if step.weights is not None:
            weights.append(step.weights[row, k])
    return tokens[::-1], weights[::-1]


def _results(
    steps: list[_Step], ended: _Ended, left: list[tuple[float, int, int]], b: int, how: Search
) -> list[Hypothesis]:
    """The best hypotheses of one source: those that ended, and only if they are too few, those cut off."""
    made = []
    for score, log_prob, at, parent in ended.found[: how.best]:
        tokens, weights = _path(steps, b, at - 1, parent) if at else ([], [])
        final = steps[at].weights
        if final is not None:
            weights.append(final[steps[at].place[b], parent])
        made.append(Hypothesis(tokens, log_prob, score, torch.stack(weights).cpu() if weights else None))
    for log_prob, at, k in left[: how.best - len(made)]:
        if math.isfinite(log_prob):
            tokens, weights = _path(steps, b, at, k)
            looked = torch.stack(weights).cpu() if weights else None
            score = log_prob / normaliser(len(tokens), how.length_penalty)
            made.append(Hypothesis(tokens, log_prob, score, looked, ended=False))
    return made
