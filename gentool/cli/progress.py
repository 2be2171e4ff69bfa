"""The progress bar of a training run, and what the model makes along the way."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from gentool.show.text import clip

if TYPE_CHECKING:
    from gentool.sampling import Samples
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


def preview(made: Plan, trainer: Trainer, step: int, *, quiet: bool = True) -> Path | None:
    """What the model makes with its current (averaged) weights, into samples/<step>.png or .txt, and what it makes of
    eight held-out pictures, and what it looked at, beside; None where it makes nothing that can be looked at. Of a text
    the first lines are shown, too."""
    pairs = reconstructions(made, trainer, 8)
    if pairs is not None:
        keep(pairs, trainer.folder.path / "samples" / f"{step:06d}-reconstructions")
    shown = made_by(made, trainer, made.config["preview"].n)
    if shown is None:
        return None
    from gentool.runs.maps import write_maps

    path = keep(shown, trainer.folder.path / "samples" / f"{step:06d}")
    for kind, maps in shown.heatmaps.items():
        write_maps(path.parent, step, kind, maps)
    if shown.text and not quiet:
        say_text(shown, f"step {step}", lines=4)
    return path


def keep(samples: Samples, stem: Path) -> Path:
    """Write samples beside the others of a run: pictures as .png (with what was found on them as .json), text as .txt."""
    from gentool.show.samples import write_samples

    path = stem.with_name(stem.name + (".png" if samples.images is not None else ".txt"))
    write_samples(path, iter([samples]), len(samples), len(samples))
    if samples.detections is not None:
        from gentool.detections import sidecar_of, write_sidecar

        write_sidecar(sidecar_of(path), samples)
    return path


def say_text(samples: Samples, title: str, lines: int) -> None:
    """The first lines of the first text, above the bar."""
    from gentool.show.terminal import terminal_size
    from gentool.show.words import excerpt

    width = min(80, terminal_size(sys.stderr)[0] - 1)
    text = (samples.text or [""])[0]
    with contextlib.suppress(OSError):
        tqdm.write(f"-- {title}\n{excerpt(text, lines, width)}", file=sys.stderr)


def made_by(made: Plan, trainer: Trainer, n: int, columns: int | None = None) -> Samples | None:
    """n samples of the run's sampler, or n pictures with the classes a classifier gives them."""
    config = made.config
    if config.sampler_spec is None:
        return guesses(made, averaged(trainer), n) if "classify" in config.model_spec.offers else None
    from gentool.sampling import Samples, draw
    from gentool.show.samples import joined

    given = None
    if config.sampler_spec.pictures == "must":
        from gentool.data.given import from_split

        given = from_split(made.pipeline, held_out(made), n)
    events = draw(
        averaged(trainer),
        config.sampler_spec,
        dataclasses.asdict(config["sampler"]),
        n,
        seed=config["train"].seed,
        device=made.device,
        stream="preview",
        given=given,
    )
    found = joined(event for event in events if isinstance(event, Samples))
    if found is not None and columns is not None:
        found.columns = columns
    return found


def averaged(trainer: Trainer) -> Any:
    """A copy of the model in eval mode, with averaged weights if the run keeps them."""
    model = copy.deepcopy(trainer.model).eval()
    if trainer.ema is not None:
        model.load_state_dict(trainer.ema.state(trainer.model))
    return model


def guesses(made: Plan, model: Any, n: int) -> Samples:
    """n held-out pictures, each captioned "predicted (true)", and how many of up to 1,000 are right."""
    import torch

    from gentool.sampling import Samples

    split = held_out(made)
    classes = made.info.classes
    right = seen = 0
    captions: list[str] = []
    pictures = []
    with torch.no_grad():
        for batch in made.pipeline.batches(split, 250, 1000):
            assert batch.images is not None
            assert batch.labels is not None
            predicted = model.logits(batch.images).argmax(1)
            right += int((predicted == batch.labels).sum())
            seen += len(batch)
            if seen - len(batch) < n:
                pictures.append(batch.images.cpu())
                both = zip(predicted.tolist(), batch.labels.tolist())
                captions += [f"{classes[p]} ({classes[t]})" for p, t in both]
    title = f"predicted (true), {split}: {100 * right / seen:.1f} % of {seen:,} right"
    return Samples(images=torch.cat(pictures)[:n], captions=captions[:n], columns=min(8, n), title=title)


def reconstructions(made: Plan, trainer: Trainer, n: int) -> Samples | None:
    """n originals followed by n reconstructions; None where the model does not reconstruct."""
    import torch

    from gentool.sampling import Samples

    if "reconstruct" not in made.config.model_spec.offers:
        return None
    batch = next(iter(made.pipeline.batches(held_out(made), n, n)))
    assert batch.images is not None
    with torch.no_grad():
        model = averaged(trainer)
        labels = batch.labels if getattr(model, "conditional", False) else None
        again = model.reconstruct(batch.images, labels)
    return Samples(images=torch.cat([batch.images, again.clamp(-1, 1)]).cpu(), columns=n)


def held_out(made: Plan) -> str:
    return "validation" if made.pipeline.has("validation") else "train"


def show(samples: Samples, title: str, mode: str) -> None:
    """Titled pictures in the terminal, where there is one, or the first lines of a text, as talk."""
    from gentool.show.terminal import show_image
    from gentool.show.text import safe_text, write

    if samples.images is None:
        say_text(samples, title, lines=12)
        return
    if samples.detections is not None:
        from gentool.show.boxes import show_boxes

        show_boxes(samples, mode, title=title)
        return
    shown = show_image(samples.images, mode, columns=samples.columns, title=samples.title or title)
    if samples.captions and not shown:
        write(f"{safe_text(samples.title)}\n", sys.stderr)
    columns = samples.columns or len(samples)
    captions = [safe_text(word) for word in samples.captions or ()]
    for start in range(0, min(len(captions), 4 * columns), columns):  # the terminal picture has no room for them
        write(clip(" ".join(captions[start : start + columns]), 80) + "\n", sys.stderr)
