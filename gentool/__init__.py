"""gentool: train, sample and score the classic deep models from a terminal.

What a plugin author needs is importable from here. Names are resolved on first use (PEP 562), so that
``import gentool`` costs no torch: the front of the program stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gentool.data.batch import Batch, DataInfo
    from gentool.errors import GentoolError, UsageError
    from gentool.evaluating import Context, Curve, HeatMap, Picture, Report, Scalar
    from gentool.hooks import hookimpl
    from gentool.randomness import Step
    from gentool.registry import build_model
    from gentool.sampling import Detections, Partial, Samples
    from gentool.specs import DatasetSpec, EvaluatorSpec, LossSpec, ModelSpec, Output, SamplerSpec, option
    from gentool.training.phases import Like, Phase

_HOME = {
    "Batch": "gentool.data.batch",
    "DataInfo": "gentool.data.batch",
    "GentoolError": "gentool.errors",
    "UsageError": "gentool.errors",
    "Context": "gentool.evaluating",
    "Curve": "gentool.evaluating",
    "HeatMap": "gentool.evaluating",
    "Picture": "gentool.evaluating",
    "Report": "gentool.evaluating",
    "Scalar": "gentool.evaluating",
    "hookimpl": "gentool.hooks",
    "Step": "gentool.randomness",
    "build_model": "gentool.registry",
    "Detections": "gentool.sampling",
    "Partial": "gentool.sampling",
    "Samples": "gentool.sampling",
    "DatasetSpec": "gentool.specs",
    "EvaluatorSpec": "gentool.specs",
    "LossSpec": "gentool.specs",
    "ModelSpec": "gentool.specs",
    "Output": "gentool.specs",
    "SamplerSpec": "gentool.specs",
    "option": "gentool.specs",
    "Like": "gentool.training.phases",
    "Phase": "gentool.training.phases",
}

__all__ = [
    "Batch",
    "Context",
    "Curve",
    "DataInfo",
    "DatasetSpec",
    "Detections",
    "EvaluatorSpec",
    "GentoolError",
    "HeatMap",
    "Like",
    "LossSpec",
    "ModelSpec",
    "Output",
    "Partial",
    "Phase",
    "Picture",
    "Report",
    "SamplerSpec",
    "Samples",
    "Scalar",
    "Step",
    "UsageError",
    "__version__",
    "build_model",
    "hookimpl",
    "option",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'gentool' has no attribute {name!r}")
