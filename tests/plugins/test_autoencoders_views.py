"""Evaluators, samplers and views of autoencoders, over made-up data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from gentool_autoencoders import (
    ElboEvaluationConfig,
    FewLabelConfig,
    InterpolateConfig,
    IwaeEvaluationConfig,
    ReconstructConfig,
)
from gentool_autoencoders.evaluate import Elbo, Iwae
from gentool_autoencoders.few_label import FewLabel, gather, warped
from gentool_autoencoders.sampler import classes, manifold, prior, traverse
from gentool_autoencoders.views import Interpolate, Reconstruct, slerp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gentool import Batch, Context, DataInfo, Partial, Samples, Step, UsageError
from gentool.registry import build_model

SMALL: dict[str, Any] = {"hidden": (16,), "latent": 3}


def made(name: str = "vae", *, size: int = 8, levels: int = 2, binarize: str = "none", **more: Any) -> Any:
    torch.manual_seed(0)
    info = DataInfo(
        name="made", image=(1, size, size), levels=levels, classes=("bar", "dash"), extra={"binarize": binarize}
    )
    return build_model(name, info, **{**SMALL, **more}).eval()


def bars(n: int, seed: int, size: int = 8, labels: bool = True) -> tuple[Tensor, Tensor | None]:
    """Two classes that one look tells apart: an upright bar or a level one, anywhere, on a dark noisy ground."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    where = torch.randint(1, size - 1, (n,), generator=generator)
    x = -1 + 0.2 * torch.rand(n, 1, size, size, generator=generator)
    for i in range(n):
        if y[i]:
            x[i, 0, where[i]] = 1
        else:
            x[i, 0, :, where[i]] = 1
    return x, y if labels else None


def context(model: Any, n: int = 12, *, limit: int | None = None, labels: bool = True, batch: int = 5) -> Context:
    splits = {"test": bars(n, 1, labels=labels), "train": bars(40, 2, labels=labels)}

    def batches(split: str, most: int | None) -> Iterator[Batch]:
        x, y = splits[split]
        end = min(len(x), most if most is not None else limit or len(x))
        for i in range(0, end, batch):
            stop = min(i + batch, end)
            yield Batch(images=x[i:stop], labels=None if y is None else y[i:stop])

    return Context(
        model=model,
        model_name="vae",
        info=model.info,
        step=Step(0, stream="eval"),
        device=torch.device("cpu"),
        dataset="made",
        split="test",
        limit=limit,
        open_batches=batches,
        draw_samples=None,
    )


def run(evaluator: Any, where: Context) -> Any:
    for batch in where.batches():
        evaluator.update(batch, None)
    return evaluator.compute()


def scalars(report: Any) -> dict[str, float]:
    return {s.name: s.value for s in report.scalars}


# -- bounds --------------------------------------------------------------------------------------------------------------


def test_elbo_report_is_the_mean_of_the_models_own_terms() -> None:
    model = made(binarize="stochastic")
    where = context(model)
    report = run(Elbo(ElboEvaluationConfig(draws=2), where), where)
    rec, kl = [], []
    with torch.no_grad():
        for call, batch in enumerate(where.batches()):
            draws = [model.elbo(batch.images, None, where.step.at(2 * call + i)) for i in range(2)]
            rec.append(-(draws[0][0] + draws[1][0]) / 2)
            kl.append(draws[0][1])
    found = scalars(report)
    assert found["-log p(x|z)"] == pytest.approx(float(torch.cat(rec).mean()), rel=1e-6)
    assert found["KL"] == pytest.approx(float(torch.cat(kl).mean()), rel=1e-6)
    assert found["-elbo"] == pytest.approx(found["-log p(x|z)"] + found["KL"], rel=1e-6)
    assert found["bits/dim"] == pytest.approx(found["-elbo"] / (64 * math.log(2)), rel=1e-6)
    for word in ("made test", "N=12", "Bernoulli over binarised pixels", "dynamic binarisation", "2 draws"):
        assert word in report.protocol


def test_iwae_report_names_k_and_is_tighter() -> None:
    model = made()
    where = context(model)
    loose, tight = (run(Iwae(IwaeEvaluationConfig(k=k), where), where) for k in (1, 200))
    assert scalars(tight)["-iwae"] < scalars(loose)["-iwae"]
    assert "K=200" in tight.protocol


def test_chunks_change_memory_and_not_the_bound() -> None:
    """No chunk decodes more than `rows` pictures, and the chunks' weights are pooled as one set of K."""
    model = made()
    most: list[int] = []
    model.decoder.register_forward_hook(lambda _, inputs, output: most.append(len(output)))
    x = bars(4, 3)[0]
    where = context(model)
    evaluator = Iwae(IwaeEvaluationConfig(k=50, rows=12), where)
    with torch.no_grad():
        bound = evaluator.bound(x, None, False, 0)
        weights = [
            model.log_weights(x, None, k, where.step.at(0, stream=f"{where.step.stream}.0.{i}"))
            for i, k in [*((3 * j, 3) for j in range(16)), (48, 2)]
        ]
    assert max(most) <= 12
    pooled = torch.cat(weights).double()
    assert len(pooled) == 50
    torch.testing.assert_close(bound, pooled.logsumexp(0) - math.log(50))


def test_a_batch_larger_than_rows_is_cut() -> None:
    model = made()
    most: list[int] = []
    model.decoder.register_forward_hook(lambda _, inputs, output: most.append(len(output)))
    where = context(model, batch=12)
    report = run(Iwae(IwaeEvaluationConfig(k=3, rows=5), where), where)
    assert max(most) == 5
    assert "N=12" in report.protocol


def test_merged_streams_are_one_stream() -> None:
    model = made()
    where = context(model)
    whole, first, second = (Elbo(ElboEvaluationConfig(), where) for _ in range(3))
    for i, batch in enumerate(where.batches()):
        whole.update(batch)
        part = first if i == 0 else second
        part.calls = i
        part.update(batch)
    first.merge(second)
    assert scalars(first.compute()) == pytest.approx(scalars(whole.compute()))


def test_continuous_densities_are_kept_apart_from_discrete_bits() -> None:
    model = made(levels=256)
    where = context(model)
    report = run(Elbo(ElboEvaluationConfig(), where), where)
    found = scalars(report)
    assert found["bits/dim"] == pytest.approx(found["-elbo, 256 levels"] / (64 * math.log(2)))
    # One level is 1/255 wide: density and mass differ by about log 255 a pixel where the density is smooth.
    assert found["-elbo, 256 levels"] - found["-elbo"] == pytest.approx(64 * math.log(255), rel=0.05)
    assert "density over pixels in [0, 1]" in report.protocol
    assert "256 levels" in report.protocol


def test_real_valued_bernoulli_has_no_bits() -> None:
    where = context(made(levels=256, likelihood="bernoulli"))
    report = run(Elbo(ElboEvaluationConfig(), where), where)
    assert "bits/dim" not in scalars(report)
    assert "cross-entropy of real-valued" in report.protocol


def test_conditional_bounds_are_given_the_class() -> None:
    model = made(conditional=True)
    where = context(model)
    report = run(Elbo(ElboEvaluationConfig(), where), where)
    assert "given its class" in report.protocol
    assert "given its class" in run(Iwae(IwaeEvaluationConfig(k=3), where), where).protocol


# -- samplers ------------------------------------------------------------------------------------------------------------


def last(events: Iterator[Partial | Samples]) -> Samples:
    found = list(events)
    assert all(isinstance(event, Partial) for event in found[:-1])
    assert isinstance(found[-1], Samples)
    return found[-1]


def test_prior_is_the_decoder_of_standard_normals() -> None:
    model = made()
    images = last(prior(model, 5, step=Step(1))).images
    torch.testing.assert_close(images, model.decode(Step(1).noise(5, 3)).detach())
    cold = last(prior(model, 5, step=Step(1), temperature=0.0)).images
    torch.testing.assert_close(cold, model.decode(torch.zeros(5, 3)).detach())
    drawn = last(prior(model, 5, step=Step(1), pixels="draw")).images
    assert drawn is not None
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}


def test_drawing_pixels_needs_a_distribution() -> None:
    with pytest.raises(UsageError, match=r"sampler\.pixels"):
        list(prior(made("vae-gan"), 2, step=Step(0), pixels="draw"))


def test_traverse_changes_one_dimension_a_row_and_orders_them() -> None:
    model = made(hidden=(), levels=2)
    (layer,) = model.decoder.net
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[:10, 0], layer.weight[:30, 2] = 1.0, 1.0  # dimension 1 does nothing, 2 does most
    samples = last(traverse(model, 1, step=Step(0), dims=2, columns=5, reach=2.0))
    assert samples.images is not None
    assert samples.columns == 5
    assert samples.captions is not None
    assert samples.captions[::5] == ["z2 = -2.0", "z0 = -2.0"]
    logits = torch.logit((samples.images.double().flatten(1) + 1) / 2).view(2, 5, 64)
    steps = logits.diff(dim=1)
    torch.testing.assert_close(steps[0, :, :30], torch.ones(4, 30).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(steps[0, :, 30:], torch.zeros(4, 34).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(steps[1, :, :10], torch.ones(4, 10).double(), atol=1e-4, rtol=0)


def test_manifold_is_a_plane_of_quantiles() -> None:
    seen: list[Tensor] = []
    model = made(latent=2)
    model.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    samples = last(manifold(model, 1, step=Step(0), side=4))
    assert samples.images is not None
    assert samples.images.shape == (16, 1, 8, 8)
    assert samples.columns == 4
    u = torch.special.ndtr(seen[0]).view(4, 4, 2)
    edges = torch.tensor([0.125, 0.375, 0.625, 0.875])
    torch.testing.assert_close(u[0, :, 0], edges)  # from left to right
    torch.testing.assert_close(u[:, 0, 1], edges.flip(0))  # from bottom to top


def test_manifold_refuses_other_dimensions() -> None:
    with pytest.raises(UsageError, match=r"this model has 3.*--preset manifold"):
        list(manifold(made(), 1, step=Step(0)))


def test_rows_of_classes_share_their_columns_z() -> None:
    model = made(conditional=True)
    samples = last(classes(model, 1, step=Step(0), columns=4))
    assert samples.images is not None
    z = Step(0).noise(4, 3)
    for c in (0, 1):
        expected = model.decode(z, torch.full((4,), c)).detach()
        torch.testing.assert_close(samples.images[4 * c : 4 * c + 4], expected)
    with pytest.raises(UsageError, match="--preset conditional"):
        list(classes(made(), 1, step=Step(0)))


@pytest.mark.parametrize("conditional", [False, True])
def test_every_view_takes_a_conditional_model(conditional: bool) -> None:
    model = made(conditional=conditional, latent=2)
    labels = torch.tensor([1, 0]) if conditional else None
    for sampler in (prior, traverse, manifold):
        samples = last(sampler(model, 2, step=Step(0), labels=labels))
        assert samples.images is not None
        assert torch.isfinite(samples.images).all()


# -- views ---------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 6), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_slerp_keeps_ends_and_turns_evenly(dims: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(3, dims, generator=generator).double() for _ in range(2))
    t = torch.linspace(0, 1, 7).double()
    path = slerp(a, b, t)
    torch.testing.assert_close(path[:, 0], a)
    torch.testing.assert_close(path[:, -1], b)
    assert torch.isfinite(path).all()
    cosine = torch.cosine_similarity(a, b)
    for i in range(3):
        if dims > 1 and abs(float(cosine[i])) < 0.99:
            turned = torch.acos(torch.cosine_similarity(path[i, :-1], path[i, 1:]).clamp(-1, 1))
            torch.testing.assert_close(turned, turned[:1].expand(6), atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(path[i].norm(dim=1), torch.lerp(a[i].norm(), b[i].norm(), t))


def test_slerp_of_codes_that_agree_oppose_or_vanish() -> None:
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    b = torch.tensor([[2.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    path = slerp(a, b, torch.linspace(0, 1, 3))
    torch.testing.assert_close(path[:, 1], (a + b) / 2)


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("path", ["spherical", "linear"])
def test_interpolation_goes_between_real_pictures(conditional: bool, path: Any) -> None:
    model = made(conditional=conditional)
    where = context(model)
    (picture,) = Interpolate(InterpolateConfig(rows=3, steps=4, path=path), where).compute().pictures
    x, y = gather(where, "test", None)
    rows = picture.images.view(3, 6, 1, 8, 8)
    assert picture.columns == 6
    for row in rows:
        start, end = ((x == side).flatten(1).all(1).nonzero().squeeze(1) for side in (row[0], row[-1]))
        assert len(start) == len(end) == 1  # both ends are pictures of the split
        assert bool(y[start] == y[end]) == conditional
        label = y[start] if conditional else None
        torch.testing.assert_close(row[1:2], model.reconstruct(x[start], label).detach())
        torch.testing.assert_close(row[-2:-1], model.reconstruct(x[end], label).detach())


def test_interpolation_without_labels_or_with_one_picture() -> None:
    (picture,) = Interpolate(InterpolateConfig(rows=2, steps=1), context(made(), labels=False)).compute().pictures
    assert len(picture.images) == 6
    with pytest.raises(UsageError, match="two pictures"):
        Interpolate(InterpolateConfig(), context(made(), limit=1, n=1)).compute()


@pytest.mark.parametrize("name", ["ae", "vae", "vae-gan"])
def test_reconstructions_stand_below_their_pictures(name: str) -> None:
    model = made(name)
    where = context(model, n=7)
    (picture,) = Reconstruct(ReconstructConfig(columns=4, rows=2), where).compute().pictures
    x, _ = gather(where, "test", None)
    rows = picture.images.view(4, 4, 1, 8, 8)
    torch.testing.assert_close(rows[0], x[:4])
    torch.testing.assert_close(rows[1], model.reconstruct(x[:4]).detach())
    torch.testing.assert_close(rows[2, :3], x[4:7])
    torch.testing.assert_close(rows[3, :3], model.reconstruct(x[4:7]).detach())
    assert bool((rows[2:, 3] == -1).all())


# -- few labels ----------------------------------------------------------------------------------------------------------

QUICK = FewLabelConfig(labels=(2, 8), seeds=2, steps=60, batch_size=16, head_lr=1e-2)


def test_few_labels_learn_what_can_be_learnt() -> None:
    model = made("ae", architecture="conv", width=4)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    report = FewLabel(QUICK, context(model, n=40)).compute()
    found = scalars(report)
    methods = ["pixels", "linear probe", "scratch", "fine-tuned", "scratch, augmented", "fine-tuned, augmented"]
    assert [row["method"] for row in report.table] == methods
    assert set(report.table[0]) == {"method", "2 a class", "8 a class"}
    assert len(found) == 12
    assert max(found["scratch, 8 a class"], found["fine-tuned, 8 a class"]) > 0.85
    assert all(0.2 < value <= 1 for value in found.values())
    assert [list(curve.x) for curve in report.curves] == [[2, 8]] * 6
    assert "N=40" in report.protocol
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())  # on copies only
    assert all(p.requires_grad for p in model.parameters())


def test_few_labels_are_a_function_of_the_seed() -> None:
    brief = FewLabelConfig(labels=(2,), seeds=1, steps=4, batch_size=4)
    first, second = (FewLabel(brief, context(made("vae"))).compute() for _ in range(2))
    assert scalars(first) == scalars(second)


def test_labelled_pictures_are_balanced_and_nested() -> None:
    where = context(made("ae"))
    chosen = FewLabel(FewLabelConfig(labels=(2, 5), seeds=3), where).choose()
    _, y = gather(where, "train", None)
    for seed in range(3):
        few, more = chosen[2][seed], chosen[5][seed]
        assert torch.bincount(y[few]).tolist() == [2, 2]
        assert torch.bincount(y[more]).tolist() == [5, 5]
        assert set(few.tolist()) <= set(more.tolist())
    assert set(chosen[5][0].tolist()) != set(chosen[5][1].tolist())


def test_pictures_are_gathered_in_the_order_asked_for() -> None:
    where = context(made("ae"))
    x, y = gather(where, "train", None)
    places = torch.tensor([17, 3, 39, 3, 0, 5])
    got_x, got_y = gather(where, "train", None, places)
    assert torch.equal(got_x, x[places])
    assert torch.equal(got_y, y[places])


def test_limit_is_about_test_pictures_only() -> None:
    report = FewLabel(FewLabelConfig(labels=(5,), seeds=1, steps=1, augment=False), context(made("ae"), limit=6)).compute()
    assert "N=6" in report.protocol


def test_too_few_pictures_no_labels_and_conditional_models_are_refused() -> None:
    with pytest.raises(UsageError, match=r"has 20 training pictures, fewer than 21"):
        FewLabel(FewLabelConfig(labels=(21,)), context(made("ae"))).compute()
    with pytest.raises(UsageError, match="reads the label"):
        FewLabel(FewLabelConfig(), context(made(conditional=True)))
    with pytest.raises(UsageError, match="has none"):
        FewLabel(FewLabelConfig(), context(made("ae"), labels=False)).compute()
    with pytest.raises(UsageError, match="such as"):
        FewLabel(FewLabelConfig(labels=()), context(made("ae")))


def centres(pictures: torch.Tensor) -> torch.Tensor:
    """(rows, columns) of the centre of what is bright, (2, N)."""
    weight = pictures.sum((1, 2, 3))
    rows = (pictures.sum((1, 3)) * torch.arange(pictures.shape[2])).sum(1) / weight
    columns = (pictures.sum((1, 2)) * torch.arange(pictures.shape[3])).sum(1) / weight
    return torch.stack([rows, columns])


def test_changed_pictures_are_moved_a_little_and_bent() -> None:
    x = torch.full((200, 1, 28, 28), -1.0)
    x[:, :, 12:16, 12:16] = 1.0
    moved = warped(x, Step(0)) + 1
    assert float(moved.min()) >= 0
    weight, (rows, _) = moved.sum((1, 2, 3)), centres(moved)
    assert float((rows - 13.5).abs().max()) < 1.3 * 0.1 * 28 + 0.075 * 28 + 0.5
    assert float(rows.std()) > 1
    assert float((weight / weight.mean()).max()) < 3  # 1.4 by scale and shear, the rest by bending
    assert not torch.equal(warped(x, Step(0)), warped(x, Step(0, 1)))

    # Three marks in a row stay in a row under an affine change: here the middle one leaves the line.
    marks = []
    for column in (7, 14, 21):
        one = torch.full((200, 1, 28, 28), -1.0)
        one[:, :, 13:16, column - 1 : column + 2] = 1.0
        marks.append(centres(warped(one, Step(0)) + 1))
    off = marks[1] - (marks[0] + marks[2]) / 2
    assert 0.3 < float(off.std()) < 0.075 * 28
