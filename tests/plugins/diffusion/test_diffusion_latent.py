"""Latent diffusion: codecs by registry, checkpoints that need nothing else, resuming."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from gentool import UsageError
from gentool.config import Layer, resolve
from gentool.runs import checkpoint
from gentool.runs.source import open_source
from gentool.training import session
from gentool.training.trainer import Hooks

CPU = torch.device("cpu")


def train(name: str, runs: Path, preset: str = "debug", **settings) -> Path:
    changes = {"preview.n": 0, "validation.examples": 8, **{k.replace("__", "."): v for k, v in settings.items()}}
    made = session.plan(resolve(name, [Layer("test", changes)], preset))
    folder = session.begin(made, runs, name, preset)
    with session.opened(folder):
        trainer = session.trainer(made, folder, Hooks())
        trainer.begin()
        trainer.fit()
    return folder.path


def test_a_checkpoint_needs_its_codec_no_more(tmp_path):
    """Trained over a vae of the user's, which is then deleted: the checkpoint alone draws the same pictures, and the run
    goes on."""
    codec = train("vae", tmp_path)
    run = train("latent-diffusion", tmp_path, model__codec=str(codec), data__resize=0, data__limit=0)
    before = open_source(str(run), tmp_path, CPU)
    z = torch.randn(3, *before.model.shape, generator=torch.Generator().manual_seed(0))
    shutil.rmtree(codec)
    after = open_source(str(run), tmp_path, CPU)
    assert torch.equal(before.model.pictures(z), after.model.pictures(z))
    assert before.model.pictures(z).shape == (3, 1, 8, 8)
    assert bool(after.model.initialised)
    made, folder, found = session.reopen(run, 4, {})
    trainer = session.trainer(made, folder, Hooks())
    trainer.load(found)
    with session.opened(folder):
        assert trainer.fit() == "done"
    assert checkpoint.newest(run / "checkpoints").step == 4


def test_only_the_network_learns(tmp_path):
    run = train("latent-diffusion", tmp_path)
    source = open_source(str(run), tmp_path, CPU)
    codec = open_source("vqvae", tmp_path / "none", CPU, shipped="mnist")
    for name, tensor in codec.model.state_dict().items():
        assert torch.equal(tensor, source.model.codec.state_dict()[name]), name
    x = source.model.prepared(torch.rand(4, 1, 28, 28) * 2 - 1, None)
    assert x.shape[2:] == (7, 7)


def test_latents_are_standard_over_the_first_batch(tmp_path):
    made = session.plan(resolve("latent-diffusion", [Layer("test", {"preview.n": 0})], "debug"))
    from gentool import Step

    batch = made.pipeline.train_batch(0, 64)
    x = made.model.train().prepared(batch.images, Step(seed=0))
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(x.shape[1]), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3)), torch.ones(x.shape[1]), atol=1e-3, rtol=0)
    assert torch.equal(made.model.eval().prepared(batch.images, Step(seed=0)), x)


def test_a_grid_is_decoded_to_the_pictures_it_came_from():
    made = session.plan(resolve("latent-diffusion", [Layer("test", {"preview.n": 0})], "debug"))
    images = made.pipeline.train_batch(0, 8).images
    z = made.model.prepared(images, None)
    torch.testing.assert_close(made.model.pictures(z), made.model.codec.reconstruct(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data.resize": 0}, "data.resize=N"),
        ({"model.codec": "gan"}, "Models that have: .*vae"),
        ({"model.codec": "vqvea"}, "Did you mean 'vqvae'"),
        ({"model.codec_checkpoint": "cifar"}, "No checkpoint 'cifar'"),
    ],
)
def test_codecs_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        session.plan(resolve("latent-diffusion", [Layer("test", settings)], "debug"))


def test_a_mask_is_refused_over_latents(tmp_path):
    from gentool_diffusion.masks import mask_of

    made = session.plan(resolve("latent-diffusion", [Layer("test", {"preview.n": 0})], "debug"))
    with pytest.raises(UsageError, match="latents"):
        mask_of("top", torch.zeros(1, 4, 7, 7), made.model)
