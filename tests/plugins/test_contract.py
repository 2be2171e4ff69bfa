"""Every plugin keeps the contract: what it names exists, fits, trains, saves, samples and scores."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

from gentool.capabilities import CAPABILITIES
from gentool.config import Layer, config_table, resolve, to_toml
from gentool.data.given import from_split
from gentool.randomness import Step
from gentool.registry import registry
from gentool.runs.shipped import package_file
from gentool.runs.source import open_source
from gentool.sampling import Detections, Samples, draw
from gentool.scoring import Scorer, choose, sampler_of
from gentool.specs import fits
from gentool.training import session
from gentool.training.trainer import Hooks

MODELS = [spec.name for spec in registry().all("model")]
PARTS = [(kind, s.name) for kind in ("loss", "sampler", "evaluator") for s in registry().all(kind)]  # type: ignore[call-overload]


def test_no_plugin_has_problems() -> None:
    assert {p.name: p.problems for p in registry().plugins if p.problems} == {}


@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_names_exists_and_fits(name: str) -> None:
    reg = registry()
    spec = reg.find("model", name)
    assert spec.summary
    assert len(spec.summary) < 100
    assert spec.paper
    assert reg.find_fitting("loss", spec.loss, spec)
    if spec.sampler:
        assert not reg.find_fitting("sampler", spec.sampler, spec).view
    for evaluator in spec.evaluators:
        assert reg.find_fitting("evaluator", evaluator, spec)
    assert reg.find_dataset(spec.dataset)[0].origin == "embedded"
    assert "debug" in spec.presets
    for preset in (None, *spec.presets):
        config = resolve(name, preset=preset)
        assert to_toml(config, documented=True)


@pytest.mark.parametrize("name", MODELS)
def test_every_setting_is_documented_and_bounded_by_its_default(name: str) -> None:
    for row in config_table(registry().find("model", name).config):
        assert row["help"], row["name"]
        assert row["allowed"]


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_parts_load_and_are_documented(kind: Any, name: str) -> None:
    spec = registry().find(kind, name)
    found = registry().load(spec.factory)
    assert callable(found)
    assert found.__doc__ or found.__init__.__doc__, f"{spec.factory} has no docstring"
    for row in config_table(spec.config):
        assert row["help"], row["name"]
    models = [m.name for m in registry().all("model") if fits(spec, m)]
    assert models, f"no model fits the {kind} {name}"


@pytest.mark.parametrize("name", MODELS)
def test_debug_trains_saves_samples_and_comes_back(name: str, tmp_path: Path) -> None:
    config = resolve(name, [Layer("test", {"preview.n": 0})], "debug")
    made = session.plan(config)
    spec = config.model_spec
    for word in spec.offers:
        for method in [m for m in vars(CAPABILITIES.get(word, object)) if not m.startswith("_")]:
            assert hasattr(made.model, method), f"{name} offers {word} but has no {method}"
    before = session.weights_digest(made.model)
    folder = session.begin(made, tmp_path, None, "debug")
    with session.opened(folder):
        trainer = session.trainer(made, folder, Hooks())
        trainer.begin()
        assert trainer.fit() == "done"
    assert session.weights_digest(made.model) != before

    source = open_source(str(folder.path), tmp_path, torch.device("cpu"))
    assert source.spec.name == name
    assert source.info == made.info
    if spec.sampler:
        sampler, options = sampler_of(source)
        drawn = []
        for _ in range(2):
            given = from_split(made.pipeline, "train", 5) if sampler.pictures == "must" else None
            events = draw(source.model, sampler, options, 5, seed=3, device="cpu", chunk=3, given=given)
            drawn.append([e for e in events if isinstance(e, Samples)])
        if spec.output == "boxes":
            found = [[d for s in again for d in s.detections or ()] for again in drawn]
            assert len(found[0]) == 5
            for one, other in zip(*found):
                check_detections(one, *(source.info.image or (3, 0, 0))[1:], len(source.info.classes))
                assert torch.equal(one.boxes, other.boxes)
                assert torch.equal(one.scores, other.scores)
            assert all(s.images is not None and s.origins is not None for s in drawn[0])
            return
        if spec.output == "text":
            texts = [[text for s in again for text in s.text or ()] for again in drawn]
            assert len(texts[0]) == 5
            assert texts[0] == texts[1]
            return
        images = [torch.cat([s.images for s in again if s.images is not None]) for again in drawn]
        assert images[0].shape == (5, *(source.info.image or ()))
        assert images[0].dtype == torch.float32
        assert images[0].abs().max() <= 1 + 1e-6
        assert torch.equal(images[0], images[1])


def check_detections(found: Detections, height: int, width: int, classes: int) -> None:
    """Boxes on the canvas, best first, of classes that there are."""
    assert found.boxes.shape == (len(found), 4)
    assert found.boxes.dtype == found.scores.dtype == torch.float32
    assert found.labels.dtype == torch.int64
    assert (found.boxes[:, 2:] >= found.boxes[:, :2]).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= torch.tensor([width, height, width, height])).all()
    assert (found.scores >= 0).all()
    assert (found.scores <= 1).all()
    assert (found.scores.diff() <= 0).all()
    assert (found.labels >= 0).all()
    assert (found.labels < classes).all()


DETECTORS = [spec.name for spec in registry().all("model") if "detect" in spec.offers]


@pytest.mark.parametrize("name", DETECTORS)
def test_a_canvas_and_the_other_pictures_change_no_detection(name: str) -> None:
    """A picture gives the same alone on its own canvas as beside another on a larger one."""
    made = session.plan(resolve(name, [Layer("test", {"preview.n": 0})], "debug"))
    model = made.model.eval()
    batch = next(made.pipeline.batches("validation", 2, 2))
    _, _, height, width = batch.images.shape
    images = torch.nn.functional.pad(batch.images, (0, 64, 0, 32))
    images[1, :, :, :] = torch.rand(3, height + 32, width + 64) * 2 - 1
    size = torch.tensor([[height - 10, width - 23], [height + 32, width + 64]])
    images[0, :, height - 10 :] = 0
    images[0, :, :, width - 23 :] = 0
    with torch.no_grad():
        alone = model.detect(images[:1, :, :height, :width].contiguous(), size[:1])[0]
        beside = model.detect(images, size)[0]
    check_detections(beside, height - 10, width - 23, len(made.info.classes))
    assert len(alone) == len(beside)
    assert torch.allclose(alone.scores, beside.scores, atol=1e-4)
    assert torch.allclose(alone.boxes.sort(0).values, beside.boxes.sort(0).values, atol=0.05)


@pytest.mark.parametrize("name", [spec.name for spec in registry().all("model") if "boxes" in spec.inputs])
@pytest.mark.parametrize("kind", ["empty", "crowd"])
def test_pictures_on_which_nothing_counts_are_learnt_from(name: str, kind: str) -> None:
    """No box, or none but crowds: the losses are finite, and so are their gradients."""
    config = resolve(name, [Layer("test", {"preview.n": 0})], "debug")
    made = session.plan(config)
    batch = made.pipeline.train_batch(0, 2)
    if kind == "empty":
        batch.extra["box_labels"] = torch.full_like(batch.extra["box_labels"], -1)
        batch.extra["boxes"] = torch.zeros_like(batch.extra["boxes"])
    else:
        batch.extra["crowd"] = batch.extra["box_labels"] >= 0
    objective = registry().load(config.loss_spec.factory)(config["loss"])
    for phase in objective(made.model.train(), batch, Step(seed=1, index=0, total=4)):
        assert torch.isfinite(phase.loss)
        if phase.loss.requires_grad:
            phase.loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in made.model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", MODELS)
def test_an_objective_is_a_pure_function_of_its_step(name: str) -> None:
    """Two fresh copies given the same batch and step yield the same losses: no hidden state."""
    import copy

    config = resolve(name, [Layer("test", {"preview.n": 0})], "debug")
    made = session.plan(config)
    values = []
    for _ in range(2):
        model = copy.deepcopy(made.model).train()
        torch.manual_seed(0)
        objective = registry().load(config.loss_spec.factory)(config["loss"])
        batch = made.pipeline.train_batch(0, 8)
        values.append([(p.name, p.loss.item()) for p in objective(model, batch, Step(seed=1, index=0, total=4))])
    assert values[0] == values[1]
    assert values[0]
    assert {phase for phase, _ in values[0]} <= set(config.model_spec.phases)


@pytest.mark.parametrize("name", MODELS)
def test_own_evaluators_report(name: str, tmp_path: Path) -> None:
    """The model's own list runs on an untrained net with a few examples (no figure is judged here)."""
    config = resolve(name, [Layer("test", {"preview.n": 0})], "debug")
    made = session.plan(config)
    folder = session.begin(made, tmp_path, None, "debug")
    with session.opened(folder):
        trainer = session.trainer(made, folder, Hooks())
        trainer.begin()
    source = open_source(str(folder.path), tmp_path, torch.device("cpu"))
    scorer = Scorer(source, torch.device("cpu"), limit=20)
    for spec in choose(source, ()):
        if spec.streams == "none":
            continue  # their own protocol; tested beside them
        report = scorer.run(spec, {"k": 4} if any(r["name"] == "k" for r in config_table(spec.config)) else {})
        assert report.scalars or report.table or report.pictures
        assert report.protocol
        report.to_json()


def shipped() -> list[tuple[str, str]]:
    return [(spec.name, key) for spec in registry().all("model") for key in spec.checkpoints]


@pytest.mark.parametrize(("name", "key"), shipped())
def test_shipped_checkpoints_load_and_have_cards(name: str, key: str) -> None:
    import json

    spec = registry().find("model", name)
    _, file = package_file(spec, key)
    assert file.stat().st_size < 8_000_000
    card = json.loads(file.with_suffix(".json").read_text())
    for item in ("data", "licence", "command", "steps", "seconds", "device", "scores"):
        assert card[item], item
    source = open_source(name, Path("no-runs"), torch.device("cpu"), shipped=key)
    assert all(torch.isfinite(t).all() for t in source.model.state_dict().values() if t.is_floating_point())


def test_configs_are_frozen_dataclasses() -> None:
    for kind in ("model", "loss", "sampler", "evaluator"):
        for spec in registry().all(kind):  # type: ignore[call-overload]
            assert dataclasses.is_dataclass(spec.config)
            assert spec.config.__dataclass_params__.frozen  # type: ignore[attr-defined]


PLUGINS = sorted(Path(__file__).parents[2].glob("plugins/gentool_*/__init__.py"))


@pytest.mark.parametrize("file", PLUGINS, ids=[f.parent.name for f in PLUGINS])
def test_no_plugin_names_another(file: Path) -> None:
    """Beyond the import contracts: no other plugin's package in a string or an import."""
    others = {other.parent.name for other in PLUGINS} - {file.parent.name}
    for source in file.parent.glob("**/*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                names = [a.name.partition(".")[0] for a in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [(node.module or "").partition(".")[0]]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names = [node.value.partition(":")[0].partition(".")[0]]
            else:
                continue
            assert not others & set(names), source
    importlib.import_module(file.parent.name)
