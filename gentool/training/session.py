"""A run from its config to its end: what `gentool train` and `gentool resume` do, without the terminal."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gentool import __version__
from gentool.config import Layer, Resolved, read_file, resolve, to_toml
from gentool.data.batch import DataInfo
from gentool.data.config import absolute_paths
from gentool.data.pipeline import Pipeline, open_pipeline
from gentool.errors import GentoolError, UsageError
from gentool.randomness import derive_seed, seed_default_generator
from gentool.registry import plugin_files, registry
from gentool.runs import checkpoint
from gentool.runs.files import replace_file
from gentool.runs.folder import RunFolder
from gentool.runs.lock import RunLock
from gentool.show.text import safe_text
from gentool.specs import initial_fields
from gentool.training.devices import deterministic, keep_freed_memory, pick_device, settle
from gentool.training.graphs import CudaRecorder, Recorder
from gentool.training.trainer import Hooks, Trainer


@dataclass
class Plan:
    """Everything a run needs, built and checked before anything is written."""

    config: Resolved
    device: torch.device
    pipeline: Pipeline
    model: nn.Module
    metadata: dict[str, Any]

    @property
    def info(self) -> DataInfo:
        """The data's description, with what the model wrote into it."""
        return model_info(self.model, self.pipeline)

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())


def model_info(model: nn.Module, pipeline: Pipeline) -> DataInfo:
    """What a model keeps as `model.info`: the data's description, to which it may have added in `extra` what it needs to
    be built again from its checkpoint alone."""
    info = getattr(model, "info", None)
    return info if isinstance(info, DataInfo) else pipeline.info


def plan(
    config: Resolved,
    vocabularies: Mapping[str, Mapping[str, Any]] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Plan:
    """Open the data and build the model. What cannot work is refused here, before a folder exists.

    vocabularies, extra: those of `DataInfo` that the run began with, where it is resumed.
    """
    train = config["train"]
    if not train.steps and not train.minutes:
        raise UsageError("A run needs a budget: --steps N or --minutes M (train.steps and train.minutes are both 0).")
    if train.accumulate > train.batch_size:
        raise UsageError(
            f"train.accumulate = {train.accumulate} is more parts than a batch of {train.batch_size} has examples."
        )
    for phase, optim in config["optim"].items():
        if not all(0 <= beta < 1 for beta in optim.betas):
            raise UsageError(
                f"optim.{phase}.betas = {list(optim.betas)} is refused: both have to be at least 0 and below 1."
            )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("This version trains on one device; start it without torchrun.")
    device = pick_device(train.device)
    deterministic(device)
    if device.type == "cpu":
        keep_freed_memory()
    if train.threads:
        torch.set_num_threads(train.threads)
    config = config.replace(
        {**settle(train, device), "train.threads": torch.get_num_threads()}, f"measured on this {device.type}"
    ).replace(absolute_paths(config["data"]), config.values["data.name"].source)
    spec = config.model_spec
    named = config.values["data.name"].source != "model default"
    pipeline: Pipeline = open_pipeline(config["data"], device, train.seed, fetch=named, vocabularies=vocabularies)
    if not pipeline.has("train"):
        raise UsageError(f"The data set '{safe_text(config['data'].name)}' has no training examples.")
    seed_default_generator(derive_seed(train.seed, "weights"), torch.device("cpu"))
    info = dataclasses.replace(pipeline.info, extra={**(extra or {}), **pipeline.info.extra})
    model: nn.Module = registry().load(spec.factory)(config["model"], info)
    model.to(device)
    if config["train"].channels_last == "yes":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Plan(config, device, pipeline, model, describe(config, model_info(model, pipeline)))


def describe(config: Resolved, info: DataInfo) -> dict[str, Any]:
    """What goes into the header of every file of weights, so that it can be used alone."""
    return {
        "model": config.model_spec.name,
        "config": dataclasses.asdict(config["model"]) | initial_fields(config.model_spec.config),
        "info": info.to_json(),
        "data": dataclasses.asdict(config["data"]),
        "loss": config.loss_spec.name,
        "sampler": config.sampler_spec.name if config.sampler_spec else "",
        "sampler_options": dataclasses.asdict(config["sampler"]) if config.sampler_spec else {},
        "seed": config["train"].seed,
        "gentool": __version__,
    }


@contextlib.contextmanager
def opened(run: RunFolder) -> Iterator[RunFolder]:
    """The run as its one writer, with whatever ends it written down."""
    with RunLock(run.path):
        try:
            yield run
        except GentoolError as error:
            with contextlib.suppress(GentoolError):
                run.update(status="failed", reason=str(error))
                run.log(f"failed: {error}")
            raise
        except KeyboardInterrupt:
            with contextlib.suppress(GentoolError):
                run.update(status="interrupted", reason="stopped at once")
            raise
        except Exception as error:
            with contextlib.suppress(GentoolError):
                run.update(status="failed", reason=f"{type(error).__name__}: {error}")
            raise


def trainer(made: Plan, run: RunFolder, hooks: Hooks, recorder: Recorder | None = None) -> Trainer:
    """The trainer of a plan in its run folder. recorder: what makes graphs of steps, where it is not CUDA."""
    config = made.config
    examples = config["validation"].examples
    if config["train"].compile:
        for phase in config.model_spec.phases:
            (made.model if phase == "model" else made.model.get_submodule(phase)).compile()
    validation = None
    if examples and made.pipeline.has("validation"):
        size = config["train"].batch_size
        validation = lambda: made.pipeline.batches("validation", max(size, 64), examples)  # noqa: E731
    if config["train"].cuda_graph == "yes" and recorder is None:
        if made.device.type == "cuda":
            recorder = CudaRecorder()
        else:
            hooks.notice(f"train.cuda_graph = yes: there are no CUDA graphs on a {made.device.type}.")
    return Trainer(
        model=made.model,
        objective=registry().load(config.loss_spec.factory)(config["loss"]),
        train_batch=made.pipeline.train_batch,
        validation=validation,
        config=config,
        folder=run,
        device=made.device,
        metadata=made.metadata,
        hooks=hooks,
        recorder=recorder,
    )


def begin(made: Plan, root: Path, name: str | None, preset: str | None) -> RunFolder:
    """A new run folder with its config and its first run.json."""
    run = RunFolder.create(root, made.config.model_spec.name, name)
    config = made.config
    text = f"# {config.model_spec.name}; repeat with: gentool train {config.model_spec.name} --config config.toml\n\n"
    text += to_toml(config, documented=False)
    replace_file(run.path / "config.toml", text.encode())
    run.begin(
        model=config.model_spec.name,
        name=name or "",
        data=config["data"].name,
        preset=preset or "",
        loss=config.loss_spec.name,
        step=0,
        seconds=0.0,
        cpu_seconds=0.0,
        total_steps=config["train"].steps,
        minutes=config["train"].minutes,
        parameters=made.parameters,
        facts=dict(getattr(made.model, "facts", dict)()),
        device=device_name(made.device),
        versions={"gentool": __version__, "torch": torch.__version__, "python": platform.python_version()},
        git=_git(),
        best=None,
        fingerprint=made.pipeline.fingerprint(),
        plugins=[str(p) for p in plugin_files()],
    )
    run.log(f"started: {made.parameters:,} parameters, {config['train'].steps} steps")
    return run


def reopen(
    path: Path, steps: int | None, overrides: dict[str, Any]
) -> tuple[Plan, RunFolder, checkpoint.Checkpoint | None]:
    """A stopped run, ready to go on: its plan, its folder, and the checkpoint it goes on from.

    A run that was killed before its first checkpoint has none: it begins again, and is the same run.
    """
    meta = RunFolder.open(path).meta
    values = read_file(path / "config.toml")
    name = values.get("model.name")
    if not isinstance(name, str):
        raise UsageError(f"{path.name}/config.toml names no model (model.name); the run cannot go on.")
    layers = [Layer("the run's config.toml", values)]
    if steps is not None:
        layers.append(Layer("--steps", {"train.steps": steps}))
    if overrides:
        layers.append(Layer("flags", overrides))
    for file in meta.get("plugins", []):
        if Path(file) not in plugin_files() and not _known(name):
            raise UsageError(f"This run used the plugin file {file}; give it again: --plugin {file}.")
    found = checkpoint.newest(path / "checkpoints")
    if found:
        begun = {f"model.{key}": value for key, value in initial_fields(registry().find("model", name).config).items()}
        layers.append(Layer("the checkpoint", begun))
    header = checkpoint.read_metadata(found.path / "model.safetensors") if found else {}
    made = plan(resolve(name, layers), header.get("info", {}).get("vocabularies"), header.get("info", {}).get("extra"))
    before = meta.get("fingerprint")
    if before and made.pipeline.fingerprint() != before:
        raise UsageError(
            f"The data set '{made.config['data'].name}' has changed since {path.name} began, so the run cannot go on as it "
            f"would have; start a new one: gentool train {name} --config {path / 'config.toml'}."
        )
    return made, RunFolder.open(path), found


def _known(name: str) -> bool:
    return name in registry().names("model")


def device_name(device: torch.device) -> str:
    """What the device is called: the GPU's name, or the CPU's with the threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' * (threads != 1)}"


def _git() -> str:
    """The commit of the working folder, if it is one: half of an answer to 'which code was that?'."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, timeout=2, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def weights_digest(model: nn.Module) -> str:
    """sha256 over every parameter and buffer by name: two runs agree bit for bit when these do."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
