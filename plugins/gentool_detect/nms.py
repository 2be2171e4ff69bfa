"""Non-maximum suppression: of boxes that cover the same thing, the best-scored stays.

Greedy: boxes are taken by falling score, and each that stays removes every later one whose IoU with it exceeds the
threshold. Equal scores: the first stays. On a CPU the work is done by blocks in NumPy (`greedy`), on a GPU by
`nms_kernel.nms_keep`; both in O(n) memory. Soft NMS (Bodla et al. 2017) lowers scores instead of removing boxes.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .greedy import greedy_keep
from .nms_kernel import nms_keep


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """The boxes that stay: int64 indices by falling score.

    boxes: (N, 4); scores: (N,), NaN being the least; threshold: the IoU in [0, 1] above which the lesser of two goes.
    """
    return batched_nms(boxes, scores, None, threshold)


def batched_nms(boxes: Tensor, scores: Tensor, labels: Tensor | None, threshold: float) -> Tensor:
    """`nms` in which only boxes of equal `labels` (int64 (N,): classes, levels, pictures) remove each other."""
    if not 0 <= threshold <= 1:
        raise ValueError(f"the threshold of NMS is an IoU in [0, 1], not {threshold}")
    order = torch.argsort(scores.detach().nan_to_num(nan=-torch.inf), descending=True, stable=True)
    best_first = boxes.detach().index_select(0, order)
    groups = None if labels is None else labels.index_select(0, order)
    return order[_keep(best_first, groups, threshold)]


def _keep(boxes: Tensor, labels: Tensor | None, threshold: float) -> Tensor:
    if boxes.device.type == "cpu" and labels is None and not nms_keep.uses_triton(boxes.device):
        return torch.from_numpy(greedy_keep(boxes.float().numpy(), None, threshold))
    groups = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device) if labels is None else labels
    keep: Tensor = nms_keep(boxes.float(), groups, threshold)
    return keep


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor | None = None,
    *,
    method: Literal["linear", "gaussian"] = "gaussian",
    threshold: float = 0.3,
    sigma: float = 0.5,
    floor: float = 0.001,
    most: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Soft NMS (Bodla et al. 2017, equations 2 and 3): (int64 indices by falling new score, the new scores).

    Each box taken lowers the scores of the others it overlaps (of its label, if labels are given): "linear" by 1 - IoU
    where IoU > threshold, "gaussian" by exp(-IoU^2 / sigma). It ends at scores below `floor` or after `most` boxes. One
    step a box taken: O(n) memory, O(n) time each.
    """
    if method not in ("linear", "gaussian"):
        raise ValueError(f"soft NMS is 'linear' or 'gaussian', not '{method}'")
    whole = boxes.detach().double().cpu().numpy()
    x1, y1, x2, y2 = np.ascontiguousarray(whole.T)
    area = np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)
    group = None if labels is None else labels.cpu().numpy()
    left = scores.detach().double().cpu().numpy().copy()
    taken: list[int] = []
    kept: list[float] = []
    while len(taken) < (len(left) if most is None else most) and len(left):
        best = int(left.argmax())
        if not left[best] >= floor:
            break
        taken.append(best)
        kept.append(float(left[best]))
        common = np.maximum(np.minimum(x2, x2[best]) - np.maximum(x1, x1[best]), 0)
        common *= np.maximum(np.minimum(y2, y2[best]) - np.maximum(y1, y1[best]), 0)
        union = area + area[best] - common
        iou = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
        if group is not None:
            iou[group != group[best]] = 0
        left *= np.where(iou > threshold, 1 - iou, 1) if method == "linear" else np.exp(-np.square(iou) / sigma)
        left[best] = -np.inf
    index = torch.tensor(taken, dtype=torch.int64, device=boxes.device)
    return index, torch.tensor(kept, dtype=scores.dtype, device=boxes.device)
