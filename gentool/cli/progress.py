"""The progress bar of a training run and the pictures along the way."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from torch import Tensor

    from gentool.training.session import Plan
    from gentool.training.trainer import Trainer


class Bar:
    """A bar over steps (or minutes, where only those bound the run); silent when quiet or when stderr is no terminal."""

    def __init__(self, steps: int, start: int, minutes: float, *, quiet: bool) -> None:
        shown = not quiet
        self.total = steps
        self.minutes = minutes
        # In a pipe a bar would be thousands of lines: tqdm then prints one line in ten seconds.
        self.interval = interval = 0.1 if sys.stderr.isatty() else 10.0
        self.losses: dict[str, float] = {}
        self._next = 0.0
        self.bar = tqdm(
            total=steps or None,
            initial=start,
            disable=not shown,
            unit="step",
            dynamic_ncols=sys.stderr.isatty(),
            ncols=None if sys.stderr.isatty() else 79,
            mininterval=interval,
            miniters=1,
            leave=True,
        )

    def __call__(self, step: int, values: dict[str, float]) -> None:
        losses = {key: value for key, value in values.items() if key.endswith("/loss")}
        if losses:  # a phase that is over is no longer shown: those of this step replace the earlier ones of their kind
            checked = any(key.startswith("validation/") for key in losses)
            kept = {k: v for k, v in self.losses.items() if k.startswith("validation/") != checked}
            self.losses = {**losses, **kept} if not checked else {**kept, **losses}
        if step > self.bar.n:
            now = time.monotonic()
            if now >= self._next:
                self._next = now + self.interval
                self.bar.set_postfix_str(self._postfix(), refresh=False)
            self.bar.update(step - self.bar.n)

    def _postfix(self) -> str:
        short = {
            key.removesuffix("/loss").replace("validation/", "val ").replace("model", "loss"): value
            for key, value in self.losses.items()
        }
        return " ".join(f"{key} {value:.4g}" for key, value in list(short.items())[:4])

    def close(self) -> None:
        self.bar.set_postfix_str(self._postfix(), refresh=True)
        self.bar.close()


def preview(made: Plan, trainer: Trainer, step: int) -> Path | None:
    """Draw samples with the current (averaged) weights into samples/<step>.png."""
    import copy

    from gentool.show.grid import make_grid, save_png

    samples = draw_images(made, trainer, made.config["preview"].n, copy.deepcopy)
    if samples is None:
        return None
    path = trainer.folder.path / "samples" / f"{step:06d}.png"
    save_png(make_grid(samples), path)
    return path


def draw_images(made: Plan, trainer: Trainer, n: int, copier: Any) -> Any:
    """n pictures (n, C, H, W) from the run's sampler; None where the model draws no pictures."""
    import dataclasses

    import torch

    from gentool.sampling import Samples, draw

    config = made.config
    if config.sampler_spec is None:
        return None
    model = averaged(trainer, copier)
    images = []
    options = dataclasses.asdict(config["sampler"])
    for event in draw(
        model, config.sampler_spec, options, n, seed=config["train"].seed, device=made.device, stream="preview"
    ):
        if isinstance(event, Samples) and event.images is not None:
            images.append(event.images.cpu())
    return torch.cat(images) if images else None


def averaged(trainer: Trainer, copier: Any) -> Any:
    """A copy of the model in eval mode, with averaged weights if the run keeps them."""
    model = copier(trainer.model).eval()
    if trainer.ema is not None:
        model.load_state_dict(trainer.ema.state(trainer.model))
    return model


def reconstructions(made: Plan, trainer: Trainer, n: int, copier: Any) -> Any:
    """n originals followed by n reconstructions, (2n, C, H, W); None where the model does not reconstruct."""
    import torch

    if "reconstruct" not in made.config.model_spec.offers:
        return None
    split = "validation" if made.pipeline.has("validation") else "train"
    batch = next(iter(made.pipeline.batches(split, n, n)))
    assert batch.images is not None
    with torch.no_grad():
        model = averaged(trainer, copier)
        labels = batch.labels if getattr(model, "conditional", False) else None
        again = model.reconstruct(batch.images, labels)
    return torch.cat([batch.images, again.clamp(-1, 1)]).cpu()


def show(images: Tensor, title: str, mode: str, columns: int | None) -> None:
    """Titled pictures (n, C, H, W) in the terminal, where there is one."""
    from gentool.show.terminal import show_image

    show_image(images, mode, columns=columns, title=title)
