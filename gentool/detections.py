"""What was found on pictures: mapped back to the pictures it was found on, and as COCO results."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gentool.sampling import Samples


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
