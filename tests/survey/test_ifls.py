"""The IFLS codebook against published counts and a published table of coefficients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from bayesmig.survey.survey import Survey, read_survey

pytestmark = pytest.mark.real

#: Plain maximum likelihood of a multinomial logit, base stay, without group effects:
#: internal, international. Terms not listed in the publication: wealth², female × education.
PUBLISHED = {
    "constant": (-2.701, -5.427),
    "2000": (0.649, 1.096),
    "2007": (0.290, 0.591),
    "female": (-0.225, -0.256),
    "age_10": (-1.087, -0.736),
    "age_10²": (0.255, -0.025),
    "education": (0.081, 0.015),
    "education²/10": (-0.030, -0.034),
    "wealth": (0.079, -0.177),
    "urban": (0.173, -0.323),
    "prior_internal": (0.618, 0.581),
    "prior_international": (0.752, 2.321),
    "household_internal": (0.013, -0.321),
    "household_international": (-0.096, 0.365),
    "network_internal": (0.092, -0.044),
    "network_international": (-0.052, 0.427),
}


@pytest.fixture(scope="module")
def ifls(real_data: Path, repository: Path) -> Survey:
    if not (real_data / "ifls").is_dir() or real_data != repository.parent / "shared" / "data":
        pytest.skip("the codebook looks for the data beside the repository")
    return read_survey(repository / "surveys" / "ifls.toml")


def test_counts(ifls: Survey) -> None:
    assert ifls.report.rows_read == 49_994
    assert ifls.n_obs == 48_389
    assert ifls.frame["choice"].value_counts().to_dict() == {
        "stay": 42_771, "internal": 5_343, "international": 275,
    }  # fmt: skip
    assert not ifls.frame.isna().any(axis=None)
    assert ifls.role("period").unique().tolist() == ["1997", "2000", "2007"]


def test_description_says_what_is_weak(ifls: Survey) -> None:
    text = str(ifls.describe())
    assert "'international' is rare: 275 rows" in text
    assert "no weight is declared" in text


def newton(x: npt.NDArray[np.float64], y: npt.NDArray[np.int8]) -> npt.NDArray[np.float64]:
    """Maximise the likelihood of a multinomial logit; shape ``(term, alternative − 1)``."""
    k, chosen = x.shape[1], np.eye(3)[y][:, 1:]
    b = np.zeros((k, 2))
    for _ in range(9):
        e = np.exp(x @ b)
        p = e / (1 + e.sum(1, keepdims=True))
        own = [(x * (p[:, [j]] * (1 - p[:, [j]]))).T @ x for j in range(2)]
        cross = -(x * p[:, [0]] * p[:, [1]]).T @ x
        hessian = np.block([[own[0], cross], [cross, own[1]]])
        b += np.linalg.solve(hessian, (x.T @ (chosen - p)).T.ravel()).reshape(2, k).T
    return b


def test_published_coefficients_come_out(ifls: Survey) -> None:
    f = ifls.frame
    made = {
        "constant": np.ones(len(f)),
        "2000": f["period"] == "2000",
        "2007": f["period"] == "2007",
        "age_10²": f["age_10"] ** 2,
        "education²/10": f["education"] ** 2 / 10,
    }
    columns = [made[name] if name in made else f[name] for name in PUBLISHED]
    columns += [f["wealth"] ** 2, f["female"] * f["education"]]
    x = np.column_stack(columns).astype("float64")
    found = newton(x, f["choice"].cat.codes.to_numpy())[: len(PUBLISHED)]
    np.testing.assert_allclose(found, list(PUBLISHED.values()), atol=0.0011)
