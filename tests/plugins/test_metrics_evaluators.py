"""The evaluators on toy models whose right answer is known; on digits, which is embedded, so offline."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from gentool_metrics import FeatureConfig, KidConfig, MemorisationConfig, PrecisionRecallConfig, ReconstructionConfig
from gentool_metrics.distances import frechet_distance
from gentool_metrics.distributions import FrechetEvaluator, KernelEvaluator, PrecisionRecallEvaluator, entropy
from gentool_metrics.features import CHECKPOINTS, Collected, available, load_extractor
from gentool_metrics.likelihood import BitsPerDim, NegativeLogLikelihood
from gentool_metrics.matching import choose_extractor, choose_reference
from gentool_metrics.memorisation import Memorisation, copy_figures
from gentool_metrics.moments import Moments
from gentool_metrics.quality import mse, psnr, ssim
from gentool_metrics.reconstruction import Reconstruction, pair_rows
from torch import nn

from gentool.data.batch import Batch, DataInfo
from gentool.data.config import DataConfig
from gentool.data.pipeline import open_pipeline
from gentool.errors import GentoolError, UsageError
from gentool.evaluating import Context, Report
from gentool.randomness import Step
from gentool.sampling import Samples

DIGITS = open_pipeline(DataConfig(name="digits"))


class Toy(nn.Module):
    """Every capability the evaluators need, with answers that can be worked out by hand."""

    conditional = False

    def log_prob(self, images, labels=None):
        return -images.flatten(1).square().sum(1).double()

    def protocol(self):
        return "toy density"

    def reconstruct(self, images, labels=None):
        return images * 0.9


def context(images=None, *, model=None, labels=None, pipeline=DIGITS, info=None, dataset=None, limit=None, chunk=100):
    """A context on a data set whose model "draws" the given pictures, in order."""

    def samples(n):
        assert images is not None
        assert n <= len(images)
        for start in range(0, n, chunk):
            stop = min(start + chunk, n)
            yield Samples(images=images[start:stop], labels=None if labels is None else labels[start:stop])

    return Context(
        model=model or Toy(),
        model_name="toy",
        info=info or pipeline.info,
        step=Step(seed=0),
        device=torch.device("cpu"),
        dataset=dataset or pipeline.info.name,
        split="test",
        limit=limit,
        open_batches=lambda split, n: pipeline.batches(split, 64, limit if n is None else n),
        draw_samples=samples,
    )


def pictures(*splits: str, pipeline=DIGITS) -> torch.Tensor:
    found = [b.images for split in splits for b in pipeline.batches(split, 500)]
    return torch.cat([images for images in found if images is not None])


def value(report: Report, start: str) -> float:
    return next(s.value for s in report.scalars if s.name.startswith(start))


# -- likelihood -------------------------------------------------------------------------------------------------------


def feed(evaluator, images, size=7, labels=None):
    for start in range(0, len(images), size):
        part = None if labels is None else labels[start : start + size]
        evaluator.update(Batch(images=images[start : start + size], labels=part), None)
    return evaluator


def test_nll_and_bits_per_dim_are_means_with_standard_errors_and_name_their_protocol():
    images = pictures("test")[:50]
    nats = images.flatten(1).double().square().sum(1).numpy()
    c = context()
    report = feed(NegativeLogLikelihood(None, c), images).compute()
    (scalar,) = report.scalars
    assert (scalar.name, scalar.unit) == ("NLL", "nats")
    assert scalar.value == pytest.approx(nats.mean())
    assert scalar.error == pytest.approx(nats.std(ddof=1) / math.sqrt(50))
    assert "toy density" in report.protocol
    assert "N=50" in report.protocol
    assert "digits test" in report.protocol
    (bits,) = feed(BitsPerDim(None, c), images).compute().scalars
    assert bits.value == pytest.approx(nats.mean() / (64 * math.log(2)))
    assert bits.error == pytest.approx(scalar.error / (64 * math.log(2)))


@pytest.mark.parametrize(("binarize", "said"), [("stochastic", "fixed seed"), ("threshold", "binarised by threshold")])
def test_a_likelihood_says_how_pixels_were_binarised(binarize, said):
    pipeline = open_pipeline(DataConfig(name="digits", binarize=binarize))
    c = context(pipeline=pipeline)
    assert said in feed(NegativeLogLikelihood(None, c), pictures("test", pipeline=pipeline)[:9]).compute().protocol


def test_a_conditional_model_is_given_labels_and_an_unconditional_one_is_not():
    class Conditional(Toy):
        conditional = True

        def log_prob(self, images, labels=None):
            return -labels.double()

    labels = torch.tensor([1, 2, 6])
    c = context(model=Conditional())
    report = feed(NegativeLogLikelihood(None, c), torch.zeros(3, 1, 8, 8), labels=labels).compute()
    assert report.scalars[0].value == pytest.approx(3)
    assert "given its class" in report.protocol


def test_an_infinite_likelihood_is_an_error_with_a_remedy():
    class Broken(Toy):
        def log_prob(self, images, labels=None):
            return torch.full((len(images),), -math.inf)

    with pytest.raises(GentoolError, match="no finite likelihood"):
        feed(NegativeLogLikelihood(None, context(model=Broken())), torch.zeros(2, 1, 8, 8))


def test_streams_merge_to_the_whole():
    images = pictures("test")
    for make in (
        lambda: NegativeLogLikelihood(None, context()),
        lambda: Reconstruction(ReconstructionConfig(show=4), context()),
    ):
        whole, a, b = feed(make(), images), feed(make(), images[:61]), feed(make(), images[61:])
        a.merge(b)
        for left, right in zip(whole.compute().scalars, a.compute().scalars, strict=True):
            assert left.value == pytest.approx(right.value, rel=1e-12)
            assert left.error == pytest.approx(right.error, rel=1e-9)
        for left, right in zip(whole.compute().pictures, a.compute().pictures, strict=True):
            torch.testing.assert_close(left.images, right.images)


# -- reconstruction ---------------------------------------------------------------------------------------------------


def test_reconstruction_reports_means_over_pictures_and_shows_first_and_worst():
    images = pictures("test")
    report = feed(Reconstruction(ReconstructionConfig(show=3), context()), images, size=50).compute()
    made = images * 0.9
    assert value(report, "MSE") == pytest.approx(float(mse(images, made).mean()))
    assert value(report, "PSNR") == pytest.approx(float(psnr(images, made).mean()))
    assert value(report, "SSIM") == pytest.approx(float(ssim(images, made).mean()))
    assert "7x7" in report.protocol
    assert "peak 2" in report.protocol
    first, worst = report.pictures
    torch.testing.assert_close(first.images, torch.cat([images[:3], made[:3]]))
    assert first.columns == 3
    order = mse(images, made).argsort(descending=True, stable=True)[:3]
    torch.testing.assert_close(worst.images[:3], images[order])


def test_exact_pictures_are_counted():
    class Perfect(Toy):
        def reconstruct(self, images, labels=None):
            return images

    report = feed(Reconstruction(ReconstructionConfig(), context(model=Perfect())), pictures("test")[:5]).compute()
    assert value(report, "PSNR") == 100
    assert "5 exact pictures count as 100 dB" in report.protocol


def test_pairs_stay_above_each_other_in_unfinished_rows():
    above = torch.arange(5.0).view(5, 1, 1, 1) / 10
    images, columns = pair_rows(above, above + 0.01, columns=3)
    assert columns == 3
    shown = images.flatten().tolist()
    assert shown == pytest.approx([0, 0.1, 0.2, 0.01, 0.11, 0.21, 0.3, 0.4, -1, 0.31, 0.41, -1])


# -- what ships -------------------------------------------------------------------------------------------------------


def test_four_extractors_ship_with_cards_and_small_files():
    cards = available()
    assert set(cards) == {"mnist", "fashion-mnist", "cifar10", "digits"}
    for name, card in cards.items():
        extractor = load_extractor(name)
        assert sum(p.numel() for p in extractor.net.parameters()) == card["parameters"] < 300_000
        assert len(extractor.digest) == 12
        reference = extractor.reference()
        assert reference.moments.covariance.trace().item() == pytest.approx(1000, rel=0.01)
        assert reference.histogram.sum() == reference.moments.n == card["reference"]["grey"]["count"]
        floor = frechet_distance(Moments.of(reference.held_out), reference.moments)
        assert floor == pytest.approx(card["reference"]["grey"]["fid_floor"], rel=0.01, abs=0.01)
        assert card["command"].startswith(f"python -m gentool_metrics.train_extractor {name} --steps")
    assert max(path.stat().st_size for path in CHECKPOINTS.iterdir()) < 8_000_000


def test_the_digits_card_is_true():
    extractor, test = load_extractor("digits"), DIGITS.split("test")
    right = extractor(test.images.float() / 127.5 - 1)[1].argmax(1) == test.labels
    assert right.double().mean().item() == pytest.approx(extractor.card["accuracy_test"], abs=1e-4)
    assert right.double().mean() > 0.97
    odd = Moments.of(extractor.features(pictures("train")[1::2]))
    reference = extractor.reference().moments
    assert odd.n == reference.n
    torch.testing.assert_close(odd.mean, reference.mean, rtol=1e-3, atol=1e-3)
    assert frechet_distance(odd, reference) < 1e-3


def test_an_altered_file_is_refused(monkeypatch, tmp_path):
    import shutil

    from gentool_metrics import features

    for path in CHECKPOINTS.glob("digits*"):
        shutil.copy(path, tmp_path / path.name)
    monkeypatch.setattr(features, "CHECKPOINTS", tmp_path)
    monkeypatch.setattr(features, "available", lambda: available(tmp_path))
    features._load.cache_clear()
    weights = tmp_path / "digits.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    try:
        with pytest.raises(GentoolError, match="not the file that shipped"):
            features.load_extractor("digits")
        weights.unlink()
        with pytest.raises(GentoolError, match="cannot be read"):
            features.load_extractor("digits")
    finally:
        features._load.cache_clear()


def test_an_unknown_extractor_is_refused_with_what_is_near():
    with pytest.raises(UsageError, match="Did you mean 'mnist'"):
        load_extractor("mnits")
    with pytest.raises(UsageError, match=r"channel\(s\)"):
        load_extractor("mnist")(torch.zeros(1, 3, 28, 28))


def test_features_do_not_depend_on_the_batch_and_pixels_are_rounded_to_8_bits():
    extractor, images = load_extractor("digits"), pictures("test")
    torch.testing.assert_close(extractor.features(images)[:7], extractor(images[:7])[0])
    torch.testing.assert_close(extractor(images[:7] * 3)[0], extractor((images[:7] * 3).clamp(-1, 1))[0])
    torch.testing.assert_close(extractor(images[:7] + 1e-4)[0], extractor(images[:7])[0])
    assert extractor.fid(images) == pytest.approx(extractor.fid(images.split(33)), rel=1e-6)


# -- choosing ---------------------------------------------------------------------------------------------------------


def info(c, h, w):
    return DataInfo(name="x", image=(c, h, w))


@pytest.mark.parametrize(
    ("image", "dataset", "chosen"),
    [
        ((1, 28, 28), "mnist", "mnist"),
        ((1, 28, 28), "fashion", "fashion-mnist"),  # an alias
        ((1, 105, 105), "omniglot", "fashion-mnist"),
        ((1, 10, 10), "folder:/x", "digits"),
        ((3, 64, 64), "folder:/x", "cifar10"),
        ((3, 28, 28), "mnist", "cifar10"),  # mnist in colour
    ],
)
def test_the_extractor_is_that_of_the_data_set_or_the_nearest_in_size(image, dataset, chosen):
    assert choose_extractor(context(info=info(*image), dataset=dataset)).name == chosen


def test_channels_that_no_extractor_reads_are_refused():
    with pytest.raises(UsageError, match=r"pictures of 4 channels.*data\.channels"):
        choose_extractor(context(info=info(4, 28, 28), dataset="folder:/x"))
    with pytest.raises(UsageError, match=r"The cifar10 classifier reads 3 channel\(s\)"):
        choose_extractor(context(info=info(1, 28, 28), dataset="mnist"), "cifar10")
    with pytest.raises(UsageError, match="Did you mean 'cifar10'"):
        choose_extractor(context(), "cifar")


def test_the_reference_follows_the_pixels():
    extractor = load_extractor("digits")
    assert "as they are" in choose_reference(context(), extractor, two_valued=False).what
    drawn = open_pipeline(DataConfig(name="digits", binarize="stochastic"))
    assert "stochastically" in choose_reference(context(pipeline=drawn), extractor, two_valued=True).what
    assert "as they are" in choose_reference(context(pipeline=drawn), extractor, two_valued=False).what
    cut = open_pipeline(DataConfig(name="digits", binarize="threshold"))
    found = choose_reference(context(pipeline=cut), extractor, two_valued=True)
    assert "binarised as in training" in found.what
    train = pictures("train", pipeline=cut)
    assert found.moments.n == len(train)
    expected = Moments.of(extractor.features(train))
    torch.testing.assert_close(found.moments.covariance, expected.covariance)
    assert len(found.held_out) == len(pictures("test"))


# -- fid, kid, precision-recall ---------------------------------------------------------------------------------------


def test_fid_of_unseen_real_pictures_is_the_floor_and_spoilt_ones_score_higher():
    real = pictures("test", "validation")
    report = FrechetEvaluator(FeatureConfig(), context(real)).compute()
    floor = value(report, "FID floor")
    assert value(report, "FID (digits classifier features)") == pytest.approx(floor, rel=1e-2)
    assert "not Inception" in report.protocol
    assert load_extractor("digits").digest in report.protocol
    assert "N=360" in report.protocol
    assert "instead of the standard" not in report.protocol
    g = torch.Generator().manual_seed(0)
    for spoilt in (real + 0.6 * torch.randn(real.shape, generator=g), real.roll(1, -1), real.flip(3), -real):
        assert value(FrechetEvaluator(FeatureConfig(), context(spoilt)).compute(), "FID (") > 2 * floor


def test_fid_streams_the_same_figure_whatever_the_chunks():
    real = pictures("test", "validation")
    reports = [FrechetEvaluator(FeatureConfig(), context(real, chunk=chunk)).compute() for chunk in (17, 360)]
    left, right = (value(report, "FID (") for report in reports)
    assert left == pytest.approx(right, rel=1e-6)
    expected = load_extractor("digits").fid(real)
    assert left == pytest.approx(expected, rel=1e-6)


def test_another_n_is_allowed_and_said(capsys):
    report = FrechetEvaluator(FeatureConfig(n=100), context(pictures("test"))).compute()
    assert "N=100 instead of the standard 360" in report.protocol
    assert "standard 360" in capsys.readouterr().err
    assert "FID floor: 100" in [s.name for s in report.scalars][1]  # of the same N
    limited = FrechetEvaluator(FeatureConfig(), context(pictures("test"), limit=100)).compute()
    assert "N=100 " in limited.protocol
    with pytest.raises(UsageError, match="at least 2"):
        FrechetEvaluator(FeatureConfig(n=1), context())


def test_a_dropped_class_shows_in_the_histogram():
    test = torch.cat([DIGITS.split("test").labels, DIGITS.split("validation").labels])
    real = pictures("test", "validation")
    kept = real[test != 3]
    report = FrechetEvaluator(FeatureConfig(n=len(kept)), context(kept)).compute()
    assert value(report, "missing classes") == 1
    assert value(report, "class entropy") == pytest.approx(math.log(9), abs=0.05)
    shares = [row["samples"] for row in report.table]
    assert sum(shares) == pytest.approx(1, abs=1e-3)
    assert shares[3] < 0.01
    whole = FrechetEvaluator(FeatureConfig(), context(real, labels=test)).compute()
    assert value(whole, "missing classes") == 0
    assert value(whole, "class agreement") > 0.97


def test_entropy_of_a_point_is_zero_and_of_a_uniform_its_log():
    assert entropy(torch.tensor([1.0, 0.0])) == 0
    assert entropy(torch.full((10,), 0.1, dtype=torch.float64)) == pytest.approx(math.log(10))


def test_samples_are_drawn_once_for_all_three():
    calls = []
    c = context(pictures("test", "validation"))
    draw = c.draw_samples
    c = dataclasses.replace(c, draw_samples=lambda n: calls.append(n) or draw(n))
    for evaluator in (FrechetEvaluator(FeatureConfig(), c), KernelEvaluator(KidConfig(), c)):
        evaluator.compute()
    assert calls == [360]


def test_kid_agrees_with_zero_for_unseen_pictures_and_sees_spoilt_ones():
    real = pictures("test", "validation")
    report = KernelEvaluator(KidConfig(block=60), context(real)).compute()
    scalar = report.scalars[0]
    assert scalar.error is not None
    assert abs(scalar.value) < 5 * scalar.error
    assert "6 disjoint blocks of 60" in report.protocol
    spoilt = KernelEvaluator(KidConfig(block=60), context(real.flip(3))).compute().scalars[0]
    assert spoilt.value > 4 * spoilt.error


def test_precision_sees_rubbish_and_recall_sees_missing_variety():
    real = pictures("test", "validation")
    report = PrecisionRecallEvaluator(PrecisionRecallConfig(), context(real)).compute()
    assert min(value(report, "precision ("), value(report, "recall (")) > 0.8
    assert value(report, "coverage (") == pytest.approx(value(report, "coverage of"))
    g = torch.Generator().manual_seed(0)
    rubbish = torch.rand(360, 1, 8, 8, generator=g) * 2 - 1
    assert value(PrecisionRecallEvaluator(PrecisionRecallConfig(), context(rubbish)).compute(), "precision (") < 0.3
    few = real[:20].repeat(18, 1, 1, 1)
    narrow = PrecisionRecallEvaluator(PrecisionRecallConfig(), context(few)).compute()
    assert value(narrow, "precision (") > 0.7
    assert value(narrow, "recall (") < 0.3
    assert value(narrow, "coverage (") < 0.5 * value(report, "coverage (")
    with pytest.raises(UsageError, match="more than 5 samples"):
        PrecisionRecallEvaluator(PrecisionRecallConfig(n=5), context(real)).compute()


def test_nan_samples_have_no_score():
    images = torch.full((10, 1, 8, 8), math.nan)
    with pytest.raises(GentoolError, match="NaN"):
        FrechetEvaluator(FeatureConfig(n=10), context(images)).compute()


def test_collected_features_are_bounded_and_merge():
    extractor, images = load_extractor("digits"), pictures("test")
    whole, a, b = (Collected.empty(extractor, keep=50) for _ in range(3))
    whole.add(extractor, images)
    a.add(extractor, images[:30])
    b.add(extractor, images[30:])
    a.merge(b)
    assert a.n == len(images)
    assert len(a.features) == len(whole.features) == 50
    torch.testing.assert_close(a.features, whole.features)
    torch.testing.assert_close(a.moments.covariance, whole.moments.covariance)
    assert torch.equal(a.counts, whole.counts)


# -- memorisation -----------------------------------------------------------------------------------------------------


def test_a_copying_machine_is_told_from_unseen_pictures():
    train = pictures("train")
    g = torch.Generator().manual_seed(0)
    copies = train[torch.randperm(len(train), generator=g)[:180]]
    report = Memorisation(MemorisationConfig(), context(copies.repeat(6, 1, 1, 1))).compute()
    assert value(report, "nearer to training") == 1
    assert value(report, "distance ratio") == 0
    assert value(report, "suspiciously") == 1
    assert value(report, "samples with one") == 1
    shown = report.pictures[0]
    assert shown.columns == 8
    torch.testing.assert_close(shown.images[:8], shown.images[8:16])  # each above its twin
    unseen = pictures("validation")
    fair = Memorisation(MemorisationConfig(n=180), context(unseen)).compute()
    scalar = fair.scalars[0]
    assert abs(scalar.value - 0.5) < 4 * scalar.error
    assert value(fair, "distance ratio") == pytest.approx(1, abs=0.1)
    assert value(fair, "samples with one") < 0.06


def test_what_is_smoothed_is_near_but_no_copy():
    train, real = pictures("train").flatten(1), pictures("validation")
    near = torch.cdist(real.flatten(1), train).topk(4, dim=1, largest=False).indices
    smooth = train[near].mean(1).view_as(real)  # a kernel smoother's samples: no training picture is among them
    report = Memorisation(MemorisationConfig(n=180), context(smooth)).compute()
    assert value(report, "nearer to training") > 0.7
    assert value(report, "samples with one") < 0.06


def test_memorisation_in_feature_space_finds_the_same_copies():
    train = pictures("train")[:200]
    report = Memorisation(MemorisationConfig(n=200, space="features", show=4), context(train)).compute()
    assert value(report, "distance ratio") < 0.01
    assert "digits classifier feature distance" in report.protocol
    torch.testing.assert_close(report.pictures[1].images[:4], report.pictures[1].images[4:])


def test_grey_samples_are_compared_with_binary_data_as_binary_ones():
    drawn = open_pipeline(DataConfig(name="digits", binarize="stochastic"))
    report = Memorisation(MemorisationConfig(n=180), context(pictures("validation"), pipeline=drawn)).compute()
    assert "drawn to binary" in report.protocol
    assert (report.pictures[1].images.abs() == 1).all()
    assert abs(report.scalars[0].value - 0.5) < 4 * report.scalars[0].error  # grey ones would seem to be copies
    cut = open_pipeline(DataConfig(name="digits", binarize="threshold"))
    found = Memorisation(MemorisationConfig(n=100), context(pictures("train")[:100], pipeline=cut)).compute()
    assert value(found, "nearer to training") > 0.9


def test_copy_figures_agree_with_the_definition():
    g = torch.Generator().manual_seed(0)
    a = torch.randint(0, 6, (40, 2), generator=g).double().sort(dim=1).values + 1
    b = torch.randint(0, 6, (50, 2), generator=g).double().sort(dim=1).values + 1
    pairs = np.array([[1.0 if x < y else 0.5 if x == y else 0.0 for y in b[:, 0]] for x in a[:, 0]])
    found = copy_figures(a, b)
    assert found.nearer == pytest.approx(pairs.mean())
    assert found.ratio == pytest.approx(float(a[:, 0].median() / b[:, 0].median()))
    assert found.nearer_error == pytest.approx(math.sqrt(91 / (12 * 40 * 50)))


def test_memorisation_needs_two_of_each():
    with pytest.raises(UsageError, match="at least 2"):
        Memorisation(MemorisationConfig(), context(pictures("test"), limit=1)).compute()
