"""How boxes are written down for a network to predict: as a transform of an anchor, or as distances from a place."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOST = math.log(1000 / 16)  # of t_w and t_h: a box at most 62.5 times its anchor, so that exp stays finite


def encode(boxes: Tensor, anchors: Tensor, weights: tuple[float, float, float, float] = (1, 1, 1, 1)) -> Tensor:
    """(t_x, t_y, t_w, t_h) of boxes relative to anchors, both (..., 4) x1 y1 x2 y2 (Girshick et al. 2014, appendix C):

    t_x = (x - x_a) / w_a,  t_y = (y - y_a) / h_a,  t_w = log(w / w_a),  t_h = log(h / h_a), centres x y, times `weights`.
    """
    x, y, w, h = _centred(boxes)
    x_a, y_a, w_a, h_a = _centred(anchors)
    t = torch.stack(((x - x_a) / w_a, (y - y_a) / h_a, (w / w_a).log(), (h / h_a).log()), -1)
    return t * t.new_tensor(weights)


def decode(t: Tensor, anchors: Tensor, weights: tuple[float, float, float, float] = (1, 1, 1, 1)) -> Tensor:
    """The inverse of `encode`: (..., 4) and anchors of a shape that broadcasts with it -> boxes x1 y1 x2 y2."""
    x_a, y_a, w_a, h_a = _centred(anchors)
    t_x, t_y, t_w, t_h = (t / t.new_tensor(weights)).unbind(-1)
    x, y = t_x * w_a + x_a, t_y * h_a + y_a
    w, h = t_w.clamp(max=MOST).exp() * w_a, t_h.clamp(max=MOST).exp() * h_a
    return torch.stack((x - w / 2, y - h / 2, x + w / 2, y + h / 2), -1)


def _centred(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centre x, centre y, width, height; no side below a thousandth of a pixel."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1).clamp(min=1e-3), (y2 - y1).clamp(min=1e-3)


def distances(boxes: Tensor, points: Tensor) -> Tensor:
    """(l, t, r, b) from points (..., 2) to the sides of boxes (..., 4): FCOS, equation 1. Negative outside of the box."""
    return torch.cat((points - boxes[..., :2], boxes[..., 2:] - points), -1)


def from_distances(ltrb: Tensor, points: Tensor) -> Tensor:
    """The inverse of `distances`."""
    return torch.cat((points - ltrb[..., :2], points + ltrb[..., 2:]), -1)
