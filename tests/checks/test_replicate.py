import numpy as np
import pytest

from bayesmig.checks import replicate as room
from bayesmig.checks.replicate import cells_of, draw_choices, replicate, thinned
from bayesmig.choice.logit import log_probabilities
from bayesmig.choice.utility import utilities
from tests.fabricate import fabricated, small_design


def test_choices_follow_their_probabilities() -> None:
    p = np.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [0.7, 0.3, 0.0]])
    chosen = draw_choices(np.broadcast_to(p, (40_000, 3, 3)), np.random.default_rng(0))
    for row in range(3):
        found = np.bincount(chosen[:, row], minlength=3) / 40_000
        assert found == pytest.approx(p[row], abs=0.01)
        assert (found[p[row] == 0] == 0).all()


def test_closed_last_alternative_is_never_drawn_for_rounding() -> None:
    # These sum to a little less than one in float64.
    p = np.array([[0.1] * 3 + [0.7 - 1e-12, 0.0]])

    class Edge(np.random.Generator):
        def random(self, size: object = None, *args: object, **kwargs: object) -> np.ndarray:
            return np.full(size, 1 - 1e-16)  # type: ignore[call-overload,no-any-return]

    assert draw_choices(p, Edge(np.random.PCG64(0)))[0] == 3


def test_shares_equal_loops_with_and_without_weights() -> None:
    rng = np.random.default_rng(0)
    codes, choices = rng.integers(4, size=50), rng.integers(3, size=(50, 6)).astype(np.int8)
    for weights in (None, rng.gamma(2.0, size=50)):
        found = cells_of(codes, 4, weights).shares(choices, 3)
        w = np.ones(50) if weights is None else weights
        for d in range(6):
            for c in range(4):
                rows = [i for i in range(50) if codes[i] == c]
                total = sum(w[i] for i in rows)
                for j in range(3):
                    share = sum(w[i] for i in rows if choices[i, d] == j) / total
                    assert found[d, c, j] == pytest.approx(share, abs=1e-12)


def test_cells_know_rows_and_effective_rows() -> None:
    cells = cells_of(np.array([0, 0, 0, 1, 2]), 3, np.array([1.0, 1.0, 2.0, 5.0, 0.0]))
    assert list(cells.rows) == [3, 1, 1]
    assert cells.effective == pytest.approx([16 / 6, 1.0, 0.0])
    assert np.isnan(cells.shares(np.zeros((5, 1), dtype=np.int8), 2)[0, 2]).all()


@pytest.mark.parametrize("size", [1, 5_000, 10**8])
def test_replicates_do_not_depend_on_blocks(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    posterior = fabricated(small_design("female"), draws=5)
    coefficients = posterior.coefficients()
    columns = posterior.design.columns
    whole = replicate(columns, coefficients, {"choices": lambda c: c.T}, seed=3)["choices"]
    monkeypatch.setattr(room, "_BLOCK_SIZE", size)
    again = replicate(columns, coefficients, {"choices": lambda c: c.T}, seed=3)["choices"]
    np.testing.assert_array_equal(whole, again)
    other = replicate(columns, coefficients, {"choices": lambda c: c.T}, seed=4)["choices"]
    assert (whole != other).any()


def test_replicates_have_the_mean_of_their_draws() -> None:
    posterior = fabricated(small_design("female + wealth"), spread=0.3, draws=400)
    design, coefficients = posterior.design, posterior.coefficients()
    cells = cells_of(np.zeros(design.n_obs, dtype=np.int64), 1)
    shares = {"shares": lambda c: cells.shares(c, 3)}
    found = replicate(design.columns, coefficients, shares, seed=0)["shares"][:, 0]
    log_p = log_probabilities(np, utilities(np, design.columns, coefficients))
    expected = np.exp(log_p).mean(axis=1)
    assert found.mean(axis=0) == pytest.approx(expected.mean(axis=0), abs=0.003)
    assert np.corrcoef(found[:, 1], expected[:, 1])[0, 1] > 0.3


def test_thinning_is_even_over_all_chains() -> None:
    coefficients = fabricated(small_design("female"), draws=100).coefficients()
    some = thinned(coefficients, 9)
    np.testing.assert_array_equal(
        some.persons, coefficients.persons[[0, 50, 100, 150, 200, 249, 299, 349, 399]]
    )
    assert some.effects is not None
    assert some.effects["origin"].shape[0] == 9
    assert some.attributes is None
    assert len(thinned(coefficients, 10_000).persons) == 400
