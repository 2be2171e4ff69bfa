"""Moments, Fréchet and kernel distances, neighbours: against float64 brute force and scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from gentool_metrics.distances import frechet_distance, kernel_distance, squared_mmd
from gentool_metrics.moments import Moments
from gentool_metrics.neighbours import CHUNK, NearestTwo, ball_radii, manifold_figures
from gentool_metrics.running import RunningMean
from hypothesis import given, settings
from hypothesis import strategies as st


def rows(n: int, d: int, seed: int = 0, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=g, dtype=torch.float64)
    return torch.randn(n, d, generator=g, dtype=torch.float64) @ mix * scale + shift


# -- moments ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 40), min_size=0, max_size=5),
    order=st.randoms(use_true_random=False),
    shift=st.sampled_from([0.0, 1.0, 1e4]),
)
def test_moments_of_parts_merge_to_those_of_the_whole_in_any_order_and_grouping(cuts, order, shift):
    x = rows(40, 3, shift=shift)
    edges = sorted({0, 40, *cuts})
    parts = [Moments.of(x[a:b]) for a, b in itertools.pairwise(edges)] + [Moments.empty(3)]
    order.shuffle(parts)
    while len(parts) > 1:  # a random tree of merges: associative and commutative
        i = order.randrange(len(parts) - 1)
        parts[i : i + 2] = [parts[i].merge(parts[i + 1])]
    merged = parts[0]
    assert merged.n == 40
    np.testing.assert_allclose(merged.mean, x.numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(merged.covariance, np.cov(x.numpy().T), rtol=1e-8, atol=1e-9)


def test_moments_do_not_cancel_far_from_zero():
    x = rows(1000, 2, scale=1e-3, shift=1e6)
    merged = Moments.empty(2)
    for part in x.split(7):
        merged = merged.merge(Moments.of(part))
    np.testing.assert_allclose(merged.covariance, np.cov((x - 1e6).numpy().T), rtol=1e-5)


def test_a_covariance_of_one_row_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        _ = Moments.of(rows(1, 3)).covariance


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30), cut=st.integers(0, 30))
def test_running_mean_and_error_are_those_of_the_whole(values, cut):
    whole, merged = torch.tensor(values, dtype=torch.float64), RunningMean()
    other = RunningMean()
    merged.add(whole[:cut])
    other.add(whole[cut:])
    merged.merge(other)
    assert merged.n == len(values)
    assert merged.mean == pytest.approx(float(np.mean(values)), abs=1e-9)
    expected = np.std(values, ddof=1) / math.sqrt(len(values))
    assert merged.standard_error == pytest.approx(expected, rel=1e-6, abs=1e-8)


# -- Fréchet ----------------------------------------------------------------------------------------------------------


def frechet_by_schur(x: np.ndarray, y: np.ndarray) -> float:
    cx, cy = np.cov(x.T), np.cov(y.T)
    root = scipy.linalg.sqrtm(cx @ cy).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cx + cy - 2 * root))


@pytest.mark.parametrize("d", [2, 16, 64])
def test_frechet_distance_agrees_with_scipys_matrix_root(d):
    x, y = rows(5 * d, d, seed=1), rows(7 * d, d, seed=2, scale=1.7, shift=0.4)
    expected = frechet_by_schur(x.numpy(), y.numpy())
    assert frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(Moments.of(y), Moments.of(x)) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_one_dimension_is_the_closed_form():
    x, y = rows(50, 1, seed=3), rows(60, 1, seed=4, shift=2.0)
    expected = float((x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2)
    assert frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_is_zero_for_equals_and_stable_where_covariances_are_singular():
    x = rows(10, 64, seed=5)  # rank 9 of 64
    assert frechet_distance(Moments.of(x), Moments.of(x)) == pytest.approx(0, abs=1e-6)
    shifted = frechet_distance(Moments.of(x), Moments.of(x + 0.5))
    assert shifted == pytest.approx(64 * 0.25, rel=1e-8)
    constant = Moments.of(torch.zeros(10, 64))
    moments = Moments.of(x)
    assert frechet_distance(constant, moments) == pytest.approx(
        float(moments.mean.square().sum() + moments.covariance.trace()), rel=1e-9
    )


# -- kernel distance --------------------------------------------------------------------------------------------------


def mmd_by_loops(x: np.ndarray, y: np.ndarray, scale: float, degree: int) -> float:
    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / scale + 1) ** degree

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


@pytest.mark.parametrize("degree", [1, 3])
def test_squared_mmd_agrees_with_the_double_sum(degree):
    x, y = rows(9, 4, seed=1), rows(13, 4, seed=2, shift=0.3)
    expected = mmd_by_loops(x.numpy(), y.numpy(), 4, degree)
    assert squared_mmd(x, y, 4, degree) == pytest.approx(expected, rel=1e-10)


def test_kernel_distance_is_the_mean_over_disjoint_blocks_with_its_standard_error():
    x, y = rows(23, 3, seed=1), rows(31, 3, seed=2)
    values = [mmd_by_loops(x[i : i + 5].numpy(), y[i : i + 5].numpy(), 3, 3) for i in (0, 5, 10, 15)]
    value, error, blocks = kernel_distance(x, y, block=5)
    assert blocks == 4
    assert value == pytest.approx(np.mean(values), rel=1e-10)
    assert error == pytest.approx(np.std(values, ddof=1) / 2, rel=1e-10)


def test_kernel_distance_is_unbiased_whatever_the_size_of_a_block():
    for block in (5, 50):
        value, error, _ = kernel_distance(
            rows(4000, 2, seed=1), rows(4000, 2, seed=1)[torch.randperm(4000)], block=block
        )
        assert error is not None
        assert abs(value) < 4 * error


def test_one_block_has_no_standard_error_and_one_row_no_distance():
    assert kernel_distance(rows(5, 2), rows(5, 2), block=10)[1:] == (None, 1)
    with pytest.raises(ValueError, match="at least 2"):
        kernel_distance(rows(1, 2), rows(5, 2))


# -- neighbours -------------------------------------------------------------------------------------------------------


def manifold_by_brute_force(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float, float, float]:
    def distances(a, b):
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))

    def radii(a):
        return np.sort(distances(a, a), axis=1)[:, k]  # place 0 is itself

    d = distances(real, fake)
    in_real, in_fake = d <= radii(real)[:, None], d <= radii(fake)[None]
    return in_real.any(0).mean(), in_fake.any(1).mean(), in_real.sum() / k / len(fake), in_real.any(1).mean()


@pytest.mark.parametrize(("n", "m", "k"), [(7, 9, 1), (60, 40, 5), (CHUNK * 2 + 30, CHUNK + 1, 3)])
def test_precision_recall_density_coverage_agree_with_brute_force(n, m, k):
    real, fake = rows(n, 3, seed=1), rows(m, 3, seed=2, scale=0.8, shift=0.5)
    found = manifold_figures(real, fake, k)
    expected = manifold_by_brute_force(real.numpy(), fake.numpy(), k)
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(expected, abs=1e-12)


def test_radii_survive_a_mean_that_dwarfs_the_spread():
    real = rows(50, 4, seed=1) + 1e6
    found, expected = (
        manifold_figures(real, real[:20] + 0.01, 3),
        manifold_by_brute_force((real - 1e6).numpy(), (real[:20] - 1e6).numpy() + 0.01, 3),
    )
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(expected, abs=1e-9)


def test_a_duplicate_is_a_neighbour_but_oneself_is_not():
    x = torch.tensor([[0.0], [0.0], [3.0]], dtype=torch.float64)
    assert ball_radii(x, 1).tolist() == [0, 0, 9]
    with pytest.raises(ValueError, match="neighbour"):
        ball_radii(x, 3)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_the_two_nearest_of_a_stream_do_not_depend_on_its_chunks(seed, sizes):
    if sum(sizes) < 2:
        sizes = [2]
    g = torch.Generator().manual_seed(seed)
    stream = torch.randint(-2, 3, (sum(sizes), 2), generator=g).float()  # small integers: ties and duplicates
    queries = torch.randint(-2, 3, (6, 2), generator=g).float()
    search = NearestTwo(queries)
    for part in stream.split(sizes):
        search.add(part)
    d = torch.cdist(queries.double(), stream.double())
    expected = d.sort(dim=1).values[:, :2]
    torch.testing.assert_close(search.distances.double(), expected)
    assert search.seen == len(stream)
    # Of equals any will do, but it has to be one of the nearest.
    torch.testing.assert_close(d.gather(1, search.indices[:, None]), expected[:, :1])


def test_an_exact_copy_has_distance_zero_and_a_near_one_its_own():
    g = torch.Generator().manual_seed(0)
    stream = torch.rand(300, 784, generator=g) * 2 - 1
    queries = stream[[5, 250]].clone()
    queries[1, 0] += 1e-3
    search = NearestTwo(queries)
    for part in stream.split(64):
        search.add(part)
    assert search.indices.tolist() == [5, 250]
    assert search.distances[:, 0].tolist() == pytest.approx([0, 1e-3], abs=1e-6)
