"""The model: shapes and refusals, the bound by enumeration, sampling, evaluators against numpy, both stages of a run."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gentool_vqvae import VQConfig
from gentool_vqvae.evaluate import CodeBits, CodebookUsage
from gentool_vqvae.likelihood import discretised_logistic
from gentool_vqvae.loss import TwoStage
from gentool_vqvae.sampler import codebook_map, codes
from vqvae_nets import labels, pictures, tiny

from gentool import Batch, Context, Partial, Samples, Step, UsageError
from gentool.config import Layer, resolve
from gentool.registry import registry
from gentool.training import session
from gentool.training.trainer import Hooks

SIZES = [
    ((1, 8, 8), 0, (4, 4)),
    ((1, 28, 28), 0, (7, 7)),
    ((3, 32, 32), 0, (8, 8)),
    ((3, 16, 24), 0, (4, 6)),
    ((3, 64, 64), 8, (8, 8)),
    ((3, 32, 32), 16, (2, 2)),
    ((1, 5, 7), 1, (5, 7)),
]


@pytest.mark.parametrize(("image", "downsample", "grid"), SIZES)
def test_every_size_goes_round(image: tuple[int, int, int], downsample: int, grid: tuple[int, int]) -> None:
    model = tiny(image, downsample=downsample).train()
    x = pictures(3, image)
    next(TwoStage(VQConfig())(model, Batch(images=x), Step(seed=0))).loss.backward()
    index = model.encode_codes(x)
    assert index.shape == (3, *grid)
    assert index.dtype == torch.int64
    assert index.min() >= 0
    assert index.max() < model.codes
    again = model.reconstruct(x)
    assert again.shape == x.shape
    assert again.abs().max() <= 1
    assert torch.equal(again, model.decode_codes(index))
    assert model.features(x).shape == (3, 3 * grid[0] * grid[1])
    assert torch.isfinite(model.log_prior(index)).all()


@pytest.mark.parametrize("codebook", ["ema", "gradient"])
def test_a_batch_of_one_picture_trains(codebook: str) -> None:
    model = tiny(codes=64, codebook=codebook).train()
    for i in range(3):
        phase = next(TwoStage(VQConfig())(model, Batch(images=pictures(1, seed=i)), Step(seed=0, index=i)))
        assert torch.isfinite(phase.loss)
        phase.loss.backward()


def test_what_it_cannot_do_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"multiples of 4, not 30x30.*data.resize=32"):
        tiny((1, 30, 30))
    with pytest.raises(UsageError, match="classes"):
        tiny(conditional=True)
    with pytest.raises(UsageError, match=r"'vae'.*pixelcnn"):
        tiny(prior="vae")
    with pytest.raises(UsageError, match="which is not among the plugins"):
        tiny(prior="pixelcnm")
    monkeypatch.setenv("GENTOOL_PLUGINS", "vqvae")
    registry.cache_clear()
    try:
        with pytest.raises(UsageError, match="install its plugin"):
            tiny()
    finally:
        monkeypatch.undo()
        registry.cache_clear()


def test_channels_last_gives_the_same_figures() -> None:
    plain, last = tiny((3, 16, 16)), tiny((3, 16, 16)).to(memory_format=torch.channels_last)
    x = pictures(2, (3, 16, 16))
    torch.testing.assert_close(plain.reconstruct(x), last.reconstruct(x), rtol=1e-4, atol=1e-5)


# -- the bound ---------------------------------------------------------------------------------------------------------


def test_the_bound_lies_below_the_likelihood_found_by_enumeration() -> None:
    """Three codes on two places: nine grids. The prior sums to one; log p(x) is the sum over all; the bound is below."""
    model = tiny((1, 1, 2), levels=4, codes=3, downsample=1).eval()
    with torch.no_grad():
        model.autoencoder.codebook.e.normal_(generator=torch.Generator().manual_seed(3))
        grids = torch.tensor(list(itertools.product(range(3), repeat=2))).view(9, 1, 2)
        log_prior = model.log_prior(grids).double()
        assert log_prior.exp().sum().item() == pytest.approx(1, abs=1e-5)
        mu, log_s = model.autoencoder.decoder.distribution(model.z_q(grids))
        levels = torch.linspace(-1, 1, 4)
        x = torch.stack([torch.stack(pair) for pair in itertools.product(levels, repeat=2)]).view(16, 1, 1, 2)
        log_pxz = torch.stack(
            [discretised_logistic(x, m.expand_as(x), s.expand_as(x), 4).flatten(1).sum(1) for m, s in zip(mu, log_s)]
        ).double()
        log_px = torch.logsumexp(log_prior[:, None] + log_pxz, 0)
        assert log_px.exp().sum().item() == pytest.approx(1, abs=1e-5)
        log_p, rate = model.elbo(x, None, Step(seed=0))
        assert (log_p - rate <= log_px + 1e-5).all()
        chosen = (model.encode_codes(x).flatten(1) * torch.tensor([3, 1])).sum(1)
        torch.testing.assert_close(log_p.double(), log_pxz[chosen, torch.arange(16)], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(rate.double(), -log_prior[chosen], rtol=1e-5, atol=1e-5)
        weights = model.log_weights(x, None, 3, Step(seed=0))
        torch.testing.assert_close(weights, (log_p - rate).expand(3, 16))


# -- samples -----------------------------------------------------------------------------------------------------------


def last(events: Any) -> Samples:
    *_, end = events
    assert isinstance(end, Samples)
    return end


def test_samples_are_decoded_codes_and_partials_are_glimpses_of_them() -> None:
    model = tiny().eval()
    events = list(codes(model, 3, step=Step(seed=5)))
    end = events[-1]
    drawn = end.extra["codes"]
    assert drawn.shape == (3, 4, 4)
    assert torch.equal(end.images, model.decode_codes(drawn))
    assert torch.equal(end.images, last(codes(model, 3, step=Step(seed=5))).images)
    assert not torch.equal(end.images, last(codes(model, 3, step=Step(seed=6))).images)
    partials = [e for e in events[:-1] if isinstance(e, Partial)]
    assert len(partials) == len(events) - 1
    seen = [p.images for p in partials if p.images is not None]
    assert 2 <= len(seen) <= 8
    assert all(s.shape == (3, 1, 8, 8) for s in seen)
    torch.testing.assert_close(seen[-1], end.images)
    assert [p.done for p in partials] == sorted(p.done for p in partials)


def test_samples_follow_the_prior_and_its_temperature() -> None:
    model = tiny((1, 1, 1), codes=3, downsample=1).eval()
    empty = torch.arange(3).view(3, 1, 1)
    expected = model.log_prior(empty).exp()
    n = 4000
    for temperature in (1.0, 0.2):
        drawn = last(codes(model, n, step=Step(seed=0), temperature=temperature)).extra["codes"].flatten()
        p = (model.log_prior(empty) / temperature).softmax(0)
        share = torch.bincount(drawn, minlength=3) / n
        assert (share - p).abs().max() < 4 * math.sqrt(0.25 / n)
    assert (p - expected).abs().max() > 0.02  # the temperature made a difference to be seen


def test_labels_go_to_the_prior_alone() -> None:
    model = tiny(classes=("a", "b"), conditional=True).eval()
    with torch.no_grad():
        for p in model.prior.parameters():
            p.add_(torch.randn_like(p), alpha=0.3)
    x, y = pictures(4), labels(4, 2)
    assert not torch.equal(model.log_prior(model.encode_codes(x), y), model.log_prior(model.encode_codes(x), 1 - y))
    assert torch.equal(model.reconstruct(x, y), model.reconstruct(x, 1 - y))
    a, b = (last(codes(model, 8, step=Step(seed=0), labels=torch.full((8,), k))) for k in (0, 1))
    assert not torch.equal(a.extra["codes"], b.extra["codes"])
    assert a.labels is not None
    assert a.labels.tolist() == [0] * 8


@pytest.mark.parametrize(("image", "downsample"), [((1, 8, 8), 0), ((3, 32, 32), 0), ((1, 3, 3), 1), ((1, 4, 8), 4)])
def test_the_codebook_map_shows_the_most_used_codes_first(image: tuple[int, int, int], downsample: int) -> None:
    model = tiny(image, downsample=downsample).eval()
    model.autoencoder.codebook.usage.copy_(torch.tensor([1.0, 5.0, 0.0, 9.0, 2.0, 3.0]))
    end = last(codebook_map(model, 16, step=Step(seed=0), codes=4))
    assert end.captions == ["3", "1", "5", "4"]
    assert end.images is not None
    assert end.images.shape[:2] == (4, image[0])
    whole = model.decode_codes(torch.full((1, *model.grid), 1))
    height, width = end.images.shape[2:]
    top, left = (image[1] - height) // 2, (image[2] - width) // 2
    torch.testing.assert_close(end.images[1], whole[0, :, top : top + height, left : left + width])


# -- evaluators --------------------------------------------------------------------------------------------------------


def context(model: Any) -> Context:
    return Context(
        model=model, model_name="vqvae", info=model.info, step=Step(seed=0), device=torch.device("cpu"), dataset="made up",
        split="test", limit=None, open_batches=None, draw_samples=None,
    )  # fmt: skip


def batches(sizes: list[int]) -> list[Batch]:
    return [Batch(images=pictures(n, seed=i), labels=labels(n, 2)) for i, n in enumerate(sizes)]


def test_codebook_usage_is_what_numpy_counts() -> None:
    model = tiny(codes=40).eval()
    model.autoencoder.codebook.initialise(model.vectors(pictures(9, seed=7)), Step(seed=0), "samples")
    one, two = CodebookUsage(None, context(model)), CodebookUsage(None, context(model))
    parts = batches([7, 5, 1])
    for part, evaluator in zip(parts, (one, one, two)):
        evaluator.update(part, None)
    one.merge(two)
    report = one.compute()
    index = np.concatenate([model.encode_codes(p.images).numpy().ravel() for p in parts])  # type: ignore[arg-type]
    counts = np.bincount(index, minlength=40)
    share = counts[counts > 0] / counts.sum()
    found = {s.name: s.value for s in report.scalars}
    assert 1 < (counts > 0).sum() < 40
    assert found["usage"] == pytest.approx(100 * (counts > 0).mean())
    assert found["dead codes"] == (counts == 0).sum()
    assert found["perplexity"] == pytest.approx(np.exp(-(share * np.log(share)).sum()))
    assert [row["count"] for row in report.table] == np.sort(counts)[::-1][:8].tolist()
    np.testing.assert_allclose(report.curves[0].y, counts / counts.sum())
    np.testing.assert_allclose(report.curves[1].y, np.sort(counts)[::-1] / counts.sum())
    assert "13 pictures" in report.protocol
    assert report.pictures[0].images.shape == (1, 1, 6, 7)


def test_code_bits_are_the_bound_in_bits_a_dimension() -> None:
    model = tiny(classes=("a", "b"), conditional=True).eval()
    evaluator, other = CodeBits(None, context(model)), CodeBits(None, context(model))
    parts = batches([6, 3])
    evaluator.update(parts[0], None)
    other.update(parts[1], None)
    evaluator.merge(other)
    found = {s.name: s for s in evaluator.compute().scalars}
    nats = [model.elbo(p.images, p.labels, Step(seed=0)) for p in parts]
    bound = torch.cat([rate - log_p for log_p, rate in nats]).detach().double().numpy() / (64 * math.log(2))
    total = found["bits/dim, at most"]
    assert total.value == pytest.approx(bound.mean())
    assert total.error == pytest.approx(bound.std(ddof=1) / 3)
    assert total.value == pytest.approx(found["distortion: decoder"].value + found["rate: prior"].value)
    assert found["rate of a code"].value == pytest.approx(found["rate: prior"].value * 64 / 16)


# -- a run -------------------------------------------------------------------------------------------------------------


def train(folder: Path, *, steps: int, stop: int | None = None, changes: dict[str, Any] | None = None) -> Any:
    values = {
        "preview.n": 0,
        "train.steps": steps,
        "loss.prior_from": 0.5,
        "loss.restart": 0.9,
        "checkpoint.every": 1,
        **(changes or {}),
    }
    made = session.plan(resolve("vqvae", [Layer("test", values)], "debug"))
    run = session.begin(made, folder, None, "debug")
    with session.opened(run):
        trainer = session.trainer(made, run, Hooks())
        trainer.begin()
        trainer.fit()
    return made.model, run


def logged(run: Any) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if any(key.startswith("lr/") for key in row)]


@pytest.mark.parametrize("channels_last", ["no", "yes"])
def test_one_run_trains_both_stages_and_resumes_bit_for_bit(tmp_path: Path, channels_last: str) -> None:
    changes = {
        "train.accumulate": 2,
        "train.ema": 0.9,
        "train.channels_last": channels_last,
        "schedule.name": "cosine",
        "checkpoint.keep": 100,
    }
    whole, run = train(tmp_path, steps=6, changes=changes)
    rows = logged(run)
    assert ["prior" if "prior/loss" in row else "autoencoder" for row in rows] == ["autoencoder"] * 3 + ["prior"] * 3
    rates = [row.get("lr/autoencoder", row.get("lr/prior")) for row in rows]
    assert rates[:3] == pytest.approx(rates[3:])  # each stage has a schedule of its own
    assert rates[0] > rates[1] > rates[2]  # type: ignore[operator]
    for step in (2, 3, 5):
        cut = tmp_path / f"cut-{step}"
        shutil.copytree(run.path, cut)
        for newer in range(step + 1, 7):
            shutil.rmtree(cut / "checkpoints" / f"{newer:06d}")
        made, again, found = session.reopen(cut, None, {})
        assert found is not None
        assert found.step == step
        with session.opened(again):
            trainer = session.trainer(made, again, Hooks())
            trainer.load(found)
            trainer.fit()
        assert session.weights_digest(made.model) == session.weights_digest(whole)
