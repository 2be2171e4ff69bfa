"""What the worker does with a trained model: open it, sample it, walk its latent space, look at it.

Every request is a generator of (kind, fields, arrays). Pictures are sent as bytes (n, H, W, C), C 1 or 3; latent vectors
as float32 (n, D); labels as int64 (n,).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gentool.errors import UsageError
from gentool.tui.worker.wire import Message

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gentool.runs.source import Source
    from gentool.sampling import Detections, Samples
    from gentool.specs import SamplerSpec

Answer = tuple[str, dict[str, Any], dict[str, Any]]
FRAME = 1 / 30  # seconds between two partial pictures or texts: more would not be seen
CHUNK = 64  # pictures decoded at a time
MOST = 1024  # pictures of one request: more do not fit on a screen
STREAM = "play"


class Session:
    """One open model. `check` raises where the request that is being obeyed has been cancelled."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check
        self.source: Source | None = None
        self.device: Any = None

    def answers(self, request: Message) -> Iterator[Answer]:
        """The answers to a request, its end left out."""
        obey = REQUESTS.get(request.kind)
        if obey is None:
            raise UsageError(f"The worker knows no request '{request.kind}'.")
        yield from obey(self, request)

    def _open(self) -> Source:
        if self.source is None:
            raise UsageError("No model is open; choose one first.")
        return self.source

    @property
    def _model(self) -> Any:
        """The open model, of which a capability promises methods that its type does not know."""
        return self._open().model

    # -- opening -------------------------------------------------------------------------------------------------------

    def open(self, request: Message) -> Iterator[Answer]:
        """source, runs, at, pretrained, shipped, device, plugins -> "opened" with what the model is and can do."""
        from gentool.registry import use_plugin_files
        from gentool.runs.source import open_source
        from gentool.training.devices import pick_device

        use_plugin_files(request.get("plugins") or [])
        self.source = None  # its memory is free before the next one comes
        self.device = pick_device(request.get("device") or "auto")
        self.source = open_source(
            str(request["source"]),
            Path(request.get("runs") or "runs"),
            self.device,
            pretrained=bool(request.get("pretrained")),
            shipped=request.get("shipped"),
            at=str(request.get("at") or "last"),
        )
        yield "opened", self._describe(), {}

    def _describe(self) -> dict[str, Any]:
        from gentool.registry import registry
        from gentool.scoring import sampler_of

        source = self._open()
        model, info, reg = source.model, source.info, registry()
        samplers: dict[str, Any] = {}
        for spec in reg.fitting("sampler", source.spec):
            chosen, options = sampler_of(source, spec.name)
            samplers[chosen.name] = options
        default = ""
        with contextlib.suppress(UsageError):
            default = sampler_of(source)[0].name
        latent = int(getattr(model, "latent", 0)) if "decode" in source.spec.offers else 0
        return {
            "model": source.spec.name,
            "origin": source.origin,
            "run": str(source.run) if source.run else None,
            "step": source.step,
            "notices": source.notices,
            "device": str(self.device),
            "parameters": sum(p.numel() for p in model.parameters()),
            "conditional": bool(getattr(model, "conditional", False)),
            "classes": list(info.classes),
            "image": list(info.image) if info.image else None,
            "latent": latent,
            "data": info.name,
            "examples": [str(line) for line in info.extra.get("examples", ())][:64],
            "samplers": samplers,
            "sampler": default,
            "views": [spec.name for spec in reg.fitting("evaluator", source.spec) if spec.view],
        }

    # -- drawing -------------------------------------------------------------------------------------------------------

    def sample(self, request: Message) -> Iterator[Answer]:
        """n, seed, class (an index or None), sampler, options, images (paths, for a sampler that starts from pictures) ->
        "partial"s, and "samples" for every chunk."""
        from gentool.cli.given import from_files
        from gentool.sampling import Partial, draw
        from gentool.scoring import sampler_of

        source = self._open()
        spec, options = sampler_of(source, request.get("sampler") or None, request.get("options"))
        n = _count(request.get("n", 16))
        given = None
        if request.get("images"):
            if not spec.pictures:
                raise UsageError(f"The sampler '{spec.name}' starts from no pictures.")
            given, n = from_files(source, self.device, [str(path) for path in request["images"]], None)
            n = _count(n)
        events = draw(
            source.model,
            spec,
            options,
            n,
            seed=int(request.get("seed") or 0),
            device=self.device,
            label=self._class(request.get("class")),
            stream="view" if spec.view else "sample",
            given=given,
        )
        begun, shown = time.perf_counter(), 0.0
        for event in events:
            self.check()
            if not isinstance(event, Partial):
                yield self._samples(event, spec, time.perf_counter() - begun)
                continue
            now = time.perf_counter()
            if now - shown >= FRAME:
                shown = now
                arrays = {} if event.images is None else {"images": pixels(event.images)}
                yield "partial", {"done": event.done, "total": event.total, "text": event.text}, arrays

    def _samples(self, samples: Samples, spec: SamplerSpec, seconds: float) -> Answer:
        found = samples.detections
        fields = {
            "text": samples.text,
            "labels": None if samples.labels is None else samples.labels.tolist(),
            "captions": samples.captions,
            "columns": samples.columns,
            "title": samples.title,
            "view": spec.view,
            "seconds": seconds,
            "detections": None if found is None else [plain_boxes(one) for one in found],
            "classes": list(samples.classes),
            "least": samples.least,
            "sizes": None if samples.sizes is None else samples.sizes.tolist(),
        }
        return "samples", fields, {} if samples.images is None else {"images": pixels(samples.images)}

    # -- the latent space ----------------------------------------------------------------------------------------------

    def latents(self, request: Message) -> Iterator[Answer]:
        """n, seed, class -> "latents": z (n, D) drawn from the prior, their pictures, and their labels if it takes any."""
        from gentool.randomness import Step

        self._walkable()
        n = _count(request.get("n", 16))
        step = Step(seed=int(request.get("seed") or 0), device=self.device, stream=STREAM)
        z = step.noise(n, self._model.latent)
        yield "latents", {}, self._decoded(z, self._labels(n, request.get("class")))

    def encode(self, request: Message) -> Iterator[Answer]:
        """path, class -> "latents": the code of a picture in a file, and what the model makes of it."""
        import torch

        from gentool.cli.given import from_files

        source = self._walkable()
        if "encode" not in source.spec.offers:
            raise UsageError(f"'{source.spec.name}' turns no picture into a latent vector.")
        given, _ = from_files(source, self.device, [str(request["path"])], 1)
        images = next(given).batch.images
        labels = self._labels(1, request.get("class"))
        with torch.no_grad():
            z = self._model.encode(images, labels)
        yield "latents", {}, {**self._decoded(z, labels), "original": pixels(images)}

    def decode(self, request: Message) -> Iterator[Answer]:
        """arrays z (n, D) and perhaps labels (n,) -> "decoded": their pictures, after each other as one array."""
        z, labels = self._given(request)
        begun = time.perf_counter()
        arrays = self._decoded(z, labels)
        yield "decoded", {"seconds": time.perf_counter() - begun}, {"images": arrays["images"]}

    def effects(self, request: Message) -> Iterator[Answer]:
        """arrays z (1, D) -> "effects": how much each dimension changes the picture there, float32 (D,), and the order."""
        import torch

        z, labels = self._given(request)
        z, labels = z[:1], None if labels is None else labels[:1]
        change = []
        for j in range(z.shape[1]):
            self.check()
            row = z.repeat(5, 1)
            row[:, j] = torch.linspace(-2.5, 2.5, 5, device=z.device)
            images = self._decode(row, None if labels is None else labels.expand(5))
            change.append(float(images.var(0).sum()))
        yield "effects", {}, {"change": np.asarray(change, dtype=np.float32)}

    def interpolate(self, request: Message) -> Iterator[Answer]:
        """steps, arrays z (2, D) and perhaps labels -> "decoded": pictures on the way from one to the other."""
        import torch

        from gentool.latents import slerp

        z, labels = self._given(request)
        if len(z) != 2:
            raise UsageError("An interpolation goes from one picture to another: choose two.")
        t = torch.linspace(0, 1, _count(request.get("steps", 16)), device=z.device)
        path = slerp(z[:1], z[1:], t)[0]
        arrays = self._decoded(path, None if labels is None else labels[:1].expand(len(path)).contiguous())
        yield "decoded", {}, {"z": arrays["z"], "images": arrays["images"]}

    def _walkable(self) -> Source:
        source = self._open()
        if "decode" not in source.spec.offers:
            raise UsageError(f"'{source.spec.name}' has no latent vectors to move in.")
        return source

    def _given(self, request: Message) -> tuple[Any, Any]:
        import torch

        source = self._walkable()
        z = request.arrays.get("z")
        if z is None or z.ndim != 2 or z.shape[1] != self._model.latent or not len(z):
            raise UsageError(f"Latent vectors of '{source.spec.name}' have {self._model.latent} numbers.")
        labels = self._labels(len(z), request.get("class"))
        given = request.arrays.get("labels")
        if labels is not None and given is not None:
            labels = torch.tensor(given, device=self.device).expand(len(z)).clamp(0, len(source.info.classes) - 1)
        return torch.tensor(z, dtype=torch.float32, device=self.device), labels

    def _decode(self, z: Any, labels: Any) -> Any:
        import torch

        with torch.no_grad():
            return self._model.decode(z, labels)

    def _decoded(self, z: Any, labels: Any) -> dict[str, NDArray[Any]]:
        parts = []
        for start in range(0, len(z), CHUNK):
            self.check()
            part = slice(start, start + CHUNK)
            parts.append(pixels(self._decode(z[part], None if labels is None else labels[part])))
        arrays = {"z": z.cpu().numpy().astype(np.float32), "images": np.concatenate(parts)}
        return arrays if labels is None else {**arrays, "labels": labels.cpu().numpy()}

    # -- classes -------------------------------------------------------------------------------------------------------

    def _class(self, given: Any) -> int | None:
        source = self._open()
        if given is None or not getattr(source.model, "conditional", False):
            return None
        if not isinstance(given, int) or not 0 <= given < len(source.info.classes):
            raise UsageError(f"A class is a number from 0 to {len(source.info.classes) - 1}.")
        return given

    def _labels(self, n: int, given: Any) -> Any:
        """int64 (n,): the class, or the classes in turn; None for a model that takes none."""
        import torch

        source = self._open()
        if not getattr(source.model, "conditional", False):
            return None
        label = self._class(given)
        places = torch.arange(n, device=self.device)
        return places % len(source.info.classes) if label is None else torch.full_like(places, label)

    # -- looking -------------------------------------------------------------------------------------------------------

    def view(self, request: Message) -> Iterator[Answer]:
        """name, options, data -> "report": what `gentool viz MODEL --NAME` gives: pictures, heat maps, figures."""
        from gentool.registry import registry
        from gentool.scoring import Scorer

        source = self._open()
        spec = registry().find_fitting("evaluator", str(request["name"]), source.spec)
        scorer = Scorer(source, self.device, seed=int(request.get("seed") or 0), data=request.get("data") or None)
        scorer.on_progress = lambda name, done, total: self.check()
        report = scorer.run(spec, request.get("options") or {})
        fields = report.to_json()
        arrays = {f"picture{i}": pixels(p.images) for i, p in enumerate(report.pictures)}
        fields["pictures"] = [{"name": p.name, "columns": p.columns} for p in report.pictures]
        yield "report", finite(fields), arrays


REQUESTS: dict[str, Callable[[Session, Message], Iterator[Answer]]] = {
    "open": Session.open,
    "sample": Session.sample,
    "latents": Session.latents,
    "encode": Session.encode,
    "decode": Session.decode,
    "effects": Session.effects,
    "interpolate": Session.interpolate,
    "view": Session.view,
}


def pixels(images: Any) -> NDArray[np.uint8]:
    """Images (n, C, H, W) in [-1, 1] as bytes (n, H, W, C)."""
    from gentool.show.pixels import to_bytes

    return to_bytes(images)


def plain_boxes(found: Detections) -> dict[str, Any]:
    """Detections as JSON values."""
    return {"boxes": found.boxes.tolist(), "scores": found.scores.tolist(), "labels": found.labels.tolist()}


def finite(value: Any) -> Any:
    """JSON values without NaN and infinities, which become None."""
    if isinstance(value, dict):
        return {str(key): finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _count(n: Any) -> int:
    if not isinstance(n, int) or not 1 <= n <= MOST:
        raise UsageError(f"Between 1 and {MOST:,} at once, not {n}.")
    return n
