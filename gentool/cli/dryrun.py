"""gentool train MODEL --dry-run: what would be done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gentool.cli.common import print_json

if TYPE_CHECKING:
    from gentool.training.session import Plan


def memory_bytes(made: Plan) -> dict[str, int]:
    """Estimated bytes by purpose: weights, moments and averages counted, activations measured on one example.

    The activations are what autograd saves in the objective's phases for one example, times the batch.
    """
    import torch

    from gentool.randomness import Step
    from gentool.registry import registry

    config = made.config
    train = config["train"]
    weights = sum(p.numel() * p.element_size() for p in made.model.parameters())
    moments = 0
    for phase in config.model_spec.phases:
        module = made.model if phase == "model" else made.model.get_submodule(phase)
        optim = config["optim"][phase]
        copies = {"adam": 2, "adamw": 2, "sgd": int(optim.momentum > 0), "rmsprop": 1 + int(optim.momentum > 0)}
        moments += copies[optim.name] * sum(p.numel() * p.element_size() for p in module.parameters())
    saved: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    import copy

    model = copy.deepcopy(made.model)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    objective = registry().load(config.loss_spec.factory)(config["loss"])
    size = max(2, min(4, train.batch_size))
    step = Step(seed=train.seed, device=made.device)
    peak = 0
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        for phase in objective(model, made.pipeline.train_batch(0, size), step):
            del phase
            peak = max(peak, sum(n for address, n in saved.items() if address not in own))
    per_step = -(-train.batch_size // train.accumulate)
    return {
        "weights": weights,
        "gradients": weights,
        "optimiser": moments,
        "averages": weights if train.ema else 0,
        "activations": peak * per_step // size,
        "data": made.pipeline.nbytes,
    }


def report(made: Plan, runs: Path, *, as_json: bool) -> None:
    """The resolved config with provenance, sizes, device, and where things will go."""
    memory = memory_bytes(made)
    facts = {
        "model": made.config.model_spec.name,
        "parameters": made.parameters,
        "device": str(made.device),
        "data": made.info.name,
        "image": list(made.info.image) if made.info.image else None,
        "memory": memory,
        "runs": str(runs),
    }
    values = {key: {"value": v.value, "source": v.source} for key, v in made.config.values.items()}
    if as_json:
        print_json({**facts, "config": values})
        return
    from gentool.show.text import safe_text

    width = max(len(key) for key in values)
    for key, entry in values.items():
        print(f"{key:{width}}  {safe_text(str(entry['value'])):<16} {safe_text(str(entry['source']))}".rstrip())
    total = sum(memory.values())
    parts = ", ".join(f"{name} {_size(n)}" for name, n in memory.items() if n)
    summary = safe_text(f"{made.info.name}, {made.pipeline.summary}")
    print(f"\nParameters  {made.parameters:,}")
    print(f"Data        {summary}, {made.pipeline.count('train'):,} training examples")
    print(f"Device      {made.device}, {made.config['train'].precision}")
    print(f"Memory      about {_size(total)}: {parts}")
    print(f"Goes to     {safe_text(str(runs))}/<date>_{made.config.model_spec.name}_<id>/ (nothing was written)")


def _size(n: int) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit in ("B", "kB") else f"{n:.1f} {unit}"
        n /= 1000  # type: ignore[assignment]
    return f"{n:.1f} TB"
