"""Small pixelcnn nets for the tests."""

from __future__ import annotations

import torch
from gentool_autoregressive import PixelCNNConfig
from gentool_autoregressive.model import PixelCNN

from gentool import DataInfo

CLASSES = ("a", "b", "c")


def net(image=(1, 6, 7), levels=2, *, extra=None, **config) -> PixelCNN:
    """A small net in float64 whose logits vary from place to place."""
    torch.manual_seed(0)
    config = {"channels": 6, "layers": 3, "hidden": 7, "embed": 3, **config}
    model = PixelCNN(PixelCNNConfig(**config), DataInfo(image=image, levels=levels, classes=CLASSES, extra=extra or {}))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model.double().eval()
