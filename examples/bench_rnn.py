"""charlm's training step and sampling against torch.nn's modules, the same sizes and weights, in one run.

    OMP_NUM_THREADS=1 python examples/bench_rnn.py [--cells lstm gru rnn] [--hidden 256] [--layers 2] [--rounds 6] [--json]

Training: forward, backward, clipping and AdamW on batches of 32 rows of 128 tokens, 65 characters embedded in 64 numbers:
the vendor's module (nn.LSTM, nn.GRU or nn.RNN), our own engine, and that engine behind vectors instead of the table of
tokens ("own, no table": its recurrent part alone against the vendor's). Sampling: a step of the vendor's module a token
against charlm's decoder, with the same draw from the logits. CPU time of one thread, the ways take turns; the ratio is the
median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from gentool import DataInfo
from gentool.data.tokens import Characters
from gentool.registry import build_model, registry

CHARACTERS = "".join(map(chr, range(32, 97)))
VENDOR = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Plain(nn.Module):
    """What most implementations are: an embedding, the vendor's module, a linear layer."""

    def __init__(self, cell: str, hidden: int, layers: int):
        super().__init__()
        self.embedding = nn.Embedding(len(CHARACTERS), 64)
        self.net = VENDOR[cell](64, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, len(CHARACTERS))

    def forward(self, tokens: torch.Tensor, state: Any = None) -> Any:
        y, state = self.net(self.embedding(tokens), state)
        return self.head(y), state


def charlm(cell: str, hidden: int, layers: int) -> Any:
    info = DataInfo(name="characters", vocabularies={"text": Characters(CHARACTERS).to_json()})
    return build_model("charlm", info, cell=cell, hidden=hidden, layers=layers, embed=64, engine="own")


def trainer(net: nn.Module, run: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], None]:
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3, fused=True)

    def step(tokens: torch.Tensor) -> None:
        logits = run(tokens[:, :-1])
        F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0, foreach=True)
        optimiser.step()
        optimiser.zero_grad()

    return step


def take_turns(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(rounds + 1):
        for name, run in ways.items():
            start = time.process_time()
            run()
            if index:  # the first allocates
                times[name].append(time.process_time() - start)
    return times


def training(cell: str, hidden: int, layers: int, rounds: int) -> dict[str, list[float]]:
    tokens = torch.randint(len(CHARACTERS), (32, 129))
    plain, ours, bare = Plain(cell, hidden, layers), charlm(cell, hidden, layers), charlm(cell, hidden, layers)

    def untabled(x: torch.Tensor) -> torch.Tensor:
        vectors = bare.input(x, torch.float32)
        logits: torch.Tensor = bare.head(bare.backbone(vectors, bare.backbone.start(len(x)))[0])
        return logits

    steps = {
        "vendor": trainer(plain, lambda x: plain(x)[0]),
        "own": trainer(ours, lambda x: ours(x)[0]),
        "own, no table": trainer(bare, untabled),
    }
    return take_turns({name: lambda s=s: s(tokens) for name, s in steps.items()}, rounds)


@torch.no_grad()
def sampling(cell: str, hidden: int, layers: int, n: int, tokens: int, rounds: int) -> dict[str, list[float]]:
    plain, ours = Plain(cell, hidden, layers).eval(), charlm(cell, hidden, layers).eval()
    choose = registry().load("gentool_rnn.sampler:choose")
    decoder = registry().load("gentool_rnn.decoding:decoder")
    uniform = torch.rand(tokens, n)

    def stepping() -> None:
        token, state = torch.zeros(n, dtype=torch.long), None
        for u in uniform.unbind(0):
            logits, state = plain(token[:, None], state)
            token = choose(logits[:, 0], u)

    def folded() -> None:
        token = torch.zeros(n, dtype=torch.long)
        net = decoder(ours, ours.backbone.start(n))
        for u in uniform.unbind(0):
            token = choose(net.step(token), u)

    return take_turns({"vendor": stepping, "own": folded}, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="*", default=["lstm", "gru", "rnn"], choices=list(VENDOR))
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []

    def report(task: str, cell: str, count: int, times: dict[str, list[float]]) -> None:
        row: dict[str, Any] = {"task": task, "cell": cell}
        for name, found in times.items():
            row[name] = count / statistics.median(found)
            row[f"{name} / vendor"] = statistics.median(a / b for a, b in zip(found, times["vendor"], strict=True))
        rows.append(row)
        if not args.json:
            speeds = ", ".join(
                f"{name} {row[name]:,.0f} tokens/s"
                + ("" if name == "vendor" else f" ({row[f'{name} / vendor']:.2f} of its time)")
                for name in times
            )
            print(f"{task:16s} {cell:5s} {speeds}", flush=True)

    for cell in args.cells:
        report("training 32x128", cell, 32 * 128, training(cell, args.hidden, args.layers, args.rounds))
        for n, tokens in ((1, 200), (16, 100)):
            times = sampling(cell, args.hidden, args.layers, n, tokens, args.rounds)
            report(f"sampling {n}", cell, n * tokens, times)
    if args.json:
        print(json.dumps({"hidden": args.hidden, "layers": args.layers, "torch": torch.__version__, "rows": rows}))


if __name__ == "__main__":
    main()
