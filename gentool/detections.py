"""What was found on pictures: mapped back to the pictures it was found on, as COCO results, and as a file that says it
all again.

Beside samples/000500.png of a detector lies samples/000500.json (`write_sidecar`, `read_sidecar`): the pictures without
boxes and everything that was found on them, so that boxes can be drawn again at another score without the model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gentool.data.find import open_regular
from gentool.data.pictures import to_jpeg
from gentool.errors import UsageError
from gentool.runs.files import replace_file
from gentool.runs.sidecar import FORMAT, MOST_BYTES, Boxes, Sidecar, parse
from gentool.sampling import Detections, Origin, Samples
from gentool.show.text import safe_text

LARGEST = 480  # pixels of the longer side of a picture in a sidecar


def original_boxes(samples: Samples, i: int) -> NDArray[np.float64]:
    """The boxes of sample i in pixels of the picture it came from, float64 (K, 4), clipped to it; without an origin as
    they are."""
    assert samples.detections is not None
    boxes: NDArray[np.float64] = samples.detections[i].boxes.double().cpu().numpy().reshape(-1, 4)
    if samples.origins is None or samples.images is None:
        return boxes
    height, width = samples.origins[i].size
    have = samples.sizes[i].tolist() if samples.sizes is not None else samples.images.shape[2:]
    scale = np.array([width / have[1], height / have[0]])
    boxes = np.clip(boxes * np.tile(scale, 2), 0, np.tile([width, height], 2))
    return boxes


def coco_results(samples: Samples) -> list[dict[str, Any]]:
    """COCO's results format: one entry a box, with the data set's own category ids (1, 2, … where it has none).

    bbox is [x, y, width, height] in pixels of the original picture, not rounded.
    """
    assert samples.detections is not None
    ids = samples.extra.get("category_ids")
    found = []
    for i, detections in enumerate(samples.detections):
        origin = samples.origins[i] if samples.origins is not None else None
        named = {"image_id": i} if origin is None else {"image_id": origin.image_id, "file_name": origin.name}
        rows = zip(original_boxes(samples, i).tolist(), detections.scores.tolist(), detections.labels.tolist())
        for (x1, y1, x2, y2), score, label in rows:
            category = ids[label] if ids and label < len(ids) else label + 1
            found.append({**named, "category_id": category, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score})
    return found


# -- a file that says it all again -------------------------------------------------------------------------------------


def sidecar_of(picture: Path) -> Path:
    """Where the sidecar of a PNG lies."""
    return picture.with_suffix(".json")


def write_sidecar(path: Path, samples: Samples) -> None:
    """Everything that was found on some pictures, and the pictures, as one JSON file.

    Per picture: "name", "image_id", "size" [height, width] of the original, "jpeg" in base64 (shrunk where it is large),
    "boxes" [[x1, y1, x2, y2], …] in pixels of the original, "scores", "labels", and "truth" {"boxes", "labels"} or null.
    Beside them "classes", "category_ids", "least" (the score from which boxes were drawn), "columns" and "title".
    """
    from gentool.data.box_transforms import resized
    from gentool.show.boxes import colour_of, shown

    pictures = []
    everything = Samples(**{**vars(samples), "least": 0.0})
    for i, one in enumerate(shown(everything)):
        height, width = one.image.shape[:2]
        origin = samples.origins[i] if samples.origins is not None else Origin(f"picture {i}", i, (height, width))
        shrunk = min(1.0, LARGEST / max(height, width))
        image = resized(colour_of(one.image), max(1, round(height * shrunk)), max(1, round(width * shrunk)))
        scale = np.array([origin.size[1] / width, origin.size[0] / height] * 2)
        truth = None
        if one.truth is not None:
            truth = {"boxes": _numbers(one.truth.boxes, scale), "labels": one.truth.labels.tolist()}
        pictures.append(
            {
                "name": origin.name,
                "image_id": origin.image_id,
                "size": list(origin.size),
                "boxes": _numbers(one.found.boxes, scale),
                "scores": [round(score, 5) for score in one.found.scores.tolist()],
                "labels": one.found.labels.tolist(),
                "truth": truth,
                "jpeg": to_jpeg(image),
            }
        )
    about = {
        "format": FORMAT,
        "classes": list(samples.classes),
        "category_ids": samples.extra.get("category_ids"),
        "least": samples.least,
        "columns": samples.columns,
        "title": samples.title,
        "pictures": pictures,
    }
    replace_file(path, json.dumps(about, allow_nan=False).encode())


def read_sidecar(path: Path) -> Samples:
    """What `write_sidecar` wrote: the pictures on one canvas, with detections in their pixels. `at_least` of
    `gentool.show.boxes` picks those of a score, and ``samples.least`` is that from which they are drawn.

    `UsageError` for anything that is no such file.
    """
    shown = safe_text(path.name)
    try:
        with open_regular(path) as file:
            return _samples(parse(file.read(MOST_BYTES + 1)))
    except OSError as error:
        raise UsageError(f"'{shown}' cannot be read: {error.strerror or error}.") from None
    except ValueError as error:
        why = " ".join(safe_text(str(error)).split())[:100]
        raise UsageError(f"'{shown}' does not say what was found on pictures ({why}).") from None


def _samples(about: Sidecar) -> Samples:
    sizes = torch.tensor([entry.image.shape[:2] for entry in about.pictures])
    height, width = sizes.amax(0).tolist()
    images = torch.zeros(len(about.pictures), 3, height, width)
    for canvas, entry, (h, w) in zip(images, about.pictures, sizes.tolist()):
        canvas[:, :h, :w] = torch.from_numpy(entry.image).permute(2, 0, 1).float() / 127.5 - 1
    truths = [_detections(entry.truth) for entry in about.pictures if entry.truth is not None]
    return Samples(
        images=images,
        detections=[_detections(entry.found) for entry in about.pictures],
        classes=about.classes,
        sizes=sizes,
        origins=[Origin(entry.name, entry.image_id, entry.size) for entry in about.pictures],
        truth=truths if len(truths) == len(about.pictures) else None,
        least=about.least,
        columns=about.columns,
        title=about.title,
        extra={"category_ids": list(about.category_ids)} if about.category_ids else {},
    )


def _detections(found: Boxes) -> Detections:
    boxes, scores = torch.from_numpy(found.boxes).float(), torch.from_numpy(found.scores).float()
    return Detections(boxes, scores, torch.from_numpy(found.labels))


def _numbers(boxes: torch.Tensor, scale: NDArray[np.float64]) -> list[list[float]]:
    scaled: NDArray[np.float64] = boxes.double().cpu().numpy().reshape(-1, 4) * scale
    return [[round(value, 3) for value in row] for row in scaled.tolist()]
