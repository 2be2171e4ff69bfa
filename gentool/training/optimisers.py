"""One optimiser a phase, with its state by parameter name, so that it can be kept in a safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gentool.errors import UsageError
from gentool.settings import Optim


class PhaseOptimiser:
    """The parameters of one submodule, their optimiser, and clipping."""

    def __init__(self, name: str, module: nn.Module, config: Optim, *, recorded: bool = False) -> None:
        """recorded: its steps may become part of a graph (`gentool.training.graphs`): the rate is a tensor, `rate`, if the
        optimiser has a form that reads it on the device."""
        self.name = name
        self.config = config
        self.named = [(key, p) for key, p in module.named_parameters() if p.requires_grad]
        self.parameters = [p for _, p in self.named]
        if not self.parameters:
            raise UsageError(f"The phase '{name}' has no parameters to train.")
        self.rate: Tensor | None = None
        if recorded and _fused(self.parameters, config):
            self.rate = torch.tensor(config.lr, dtype=torch.float32, device=self.parameters[0].device)
        self.optimiser = _build(self.parameters, config, self.rate)
        # Of a phase that is the whole model every leaf is wanted; naming them all costs autograd a walk of the graph.
        self.inputs = None if name == "model" else self.parameters

    def backward(self, loss: Tensor) -> None:
        """Gradients of this phase's parameters alone; others are not even computed."""
        loss.backward(inputs=self.inputs)  # type: ignore[no-untyped-call]

    def set_rate(self, lr: float) -> None:
        """The learning rate of the next steps."""
        if self.rate is not None:
            self.rate.fill_(lr)
            return
        for group in self.optimiser.param_groups:
            group["lr"] = lr

    def step(self, clip: float) -> Tensor | None:
        """Clip, update, forget the gradients. Gives the gradient's norm before clipping (None where it is not needed)."""
        norm = None
        if clip > 0:
            norm = nn.utils.clip_grad_norm_(self.parameters, clip, foreach=True)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return norm

    def state(self) -> dict[str, Tensor]:
        """Every moment and count as ``phase/parameter/moment``."""
        tensors: dict[str, Tensor] = {}
        for key, parameter in self.named:
            for moment, value in self.optimiser.state.get(parameter, {}).items():
                if value is not None:
                    tensors[f"{self.name}/{key}/{moment}"] = torch.as_tensor(value)
        return tensors

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `state`: a parameter that was never updated has none."""
        for key, parameter in self.named:
            prefix = f"{self.name}/{key}/"
            found: dict[str, Any] = {}
            for name, value in tensors.items():
                if name.startswith(prefix) and "/" not in name[len(prefix) :]:
                    if value.dim() and value.shape != parameter.shape:
                        raise UsageError(f"The optimiser state '{name}' is of another shape than its parameter.")
                    # A file has no memory format; the fused optimisers take a moment's to be its parameter's.
                    like = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False)
                    found[name[len(prefix) :]] = like.copy_(value) if value.dim() else value.clone()
            if found:
                if parameter.device.type != "cpu" and "step" in found and _fused(self.parameters, self.config):
                    found["step"] = found["step"].to(parameter.device)
                self.optimiser.state[parameter] = found


def _fused(parameters: list[nn.Parameter], config: Optim) -> bool:
    return config.name in ("adam", "adamw", "sgd") and all(
        p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters
    )


def _build(parameters: list[nn.Parameter], config: Optim, rate: Tensor | None) -> torch.optim.Optimizer:
    fused = _fused(parameters, config)  # one pass over the parameters: a fifth of the time on a CPU
    lr: float | Tensor = config.lr if rate is None else rate
    capturable = rate is not None
    if config.name == "adam":
        return torch.optim.Adam(
            parameters, lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay, fused=fused,
            capturable=capturable,
        )  # fmt: skip
    if config.name == "adamw":
        return torch.optim.AdamW(
            parameters, lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay, fused=fused,
            capturable=capturable,
        )  # fmt: skip
    if config.name == "sgd":
        return torch.optim.SGD(parameters, lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=fused)
    return torch.optim.RMSprop(
        parameters,
        config.lr,
        alpha=config.alpha,
        eps=config.eps,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        foreach=True,
    )


class Ema:
    """Averaged weights: w_ema <- d w_ema + (1 - d) w, with d rising to `decay` (Polyak averaging of the late weights)."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.source: list[Tensor] = [p for p in model.parameters() if p.is_floating_point()]
        self.names = [n for n, p in model.named_parameters() if p.is_floating_point()]
        self.average = [p.detach().clone() for p in self.source]

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, self.source, 1 - decay)

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """The model's state with the averaged weights in place; buffers are the model's own."""
        return {**model.state_dict(), **dict(zip(self.names, self.average, strict=True))}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        for name, average in zip(self.names, self.average, strict=True):
            average.copy_(tensors[name])
