"""Whether origins differ as much, and near ones are as alike, as a theory says."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmig.checks.battery import VALUES, Battery
from bayesmig.checks.replicate import Cells, cells_of
from bayesmig.checks.result import percent
from bayesmig.choice.drawn import Choices
from bayesmig.design.design import Design
from bayesmig.errors import QuestionError
from bayesmig.posterior import Posterior

Array = NDArray[np.float64]
DISPERSION, DISPERSION_KIND = "dispersion of origins", "origin_dispersion"
SPATIAL, SPATIAL_KIND = "spatial structure", "spatial"
COLUMNS = ("alternative", "origins", "statistic", *VALUES)
SPATIAL_COLUMNS = ("alternative", "origins", "pairs", "statistic", *VALUES)
#: Nearest origins that are neighbours, where the codebook says no other number.
_NEAREST = 5
#: Origins whose distances to all others are held at a time.
_CHUNK = 500
#: Origins without which neither is asked, and choosers that an alternative needs.
_LEAST_ORIGINS, _LEAST_CHOOSERS = 10, 10
#: How far apart shares are; and of what kind: low where a few are far from all others.
SPREAD, SHAPE = "standard deviation", "mean absolute deviation over it"
MORAN = "Moran's coefficient"
NO_ORIGINS = f"The survey declares no {_LEAST_ORIGINS} origins of several rows."
NO_NEIGHBOURS = (
    "Which origins are neighbours is not known: the codebook declares neither neighbours (the "
    "block [neighbours]) nor a role region within which several origins lie, or the posterior was "
    "loaded without its survey (survey=...)."
)


@dataclass(frozen=True, eq=False)
class Places:
    """The origins of a survey.

    Attributes
    ----------
    labels
        Of every origin, as text.
    cells
        Rows of every origin, weighted as the theory's averages.
    """

    labels: tuple[str, ...] = field(repr=False)
    cells: Cells = field(repr=False)


def places(design: Design) -> Places | None:
    """The origins, where there are enough of several rows."""
    if "origin" not in design.roles:
        return None
    codes, labels = pd.factorize(design.frame[design.roles["origin"]].astype(str), sort=True)
    found = cells_of(codes.astype(np.int64), len(labels), design.weights)
    if (found.rows > 1).sum() < _LEAST_ORIGINS:
        return None
    return Places(tuple(map(str, labels)), found)


def dispersion(design: Design, of: Places) -> Battery:
    """Standard deviations of origins' shares, and their shape; an origin counts by its rows.

    The shape is the mean absolute deviation over the standard deviation (Geary 1935, doi
    10.2307/2332693): 0.8 of normal values, less where a few origins are far from all others.

    Replicated surveys are of new origins where the theory gives these effects: the question
    is whether origins differ as the distribution of effects says, not whether effects that
    were fitted to them reproduce them.

    Parameters
    ----------
    design
        Theory × survey.
    of
        From `places`.

    Returns
    -------
    Battery
        Table: ``alternative``, ``origins`` (their number), ``statistic`` and the values.
    """
    both = [_labels(design, of).assign(statistic=name) for name in (SPREAD, SHAPE)]
    mass = _mass(design, of.cells)
    return Battery(
        DISPERSION,
        DISPERSION_KIND,
        pd.concat(both, ignore_index=True),
        partial(_deviations, cells=of.cells, mass=mass, width=len(design.alternatives)),
        partial(_enough, chosen=np.tile(_chosen(design), 2)),
        _dispersion_sentence,
        "Shares of origins differ as much as the theory has it",
        "Shares of origins do not differ as the theory has it",
        fresh=True,
        weights=design.weights_note,
    )


def spatial(design: Design, of: Places, neighbours: Any, expected: Array) -> Battery:
    """Moran's coefficient of what the theory leaves over in origins.

    Residuals of an origin, ``(observed - expected) / sqrt(rows)``, with effects of its own
    left out of what is expected, are set beside those of its neighbours (Moran 1950, doi
    10.1093/biomet/37.1-2.17). Only values that are too large count. Replicated surveys are
    of new origins where the theory gives these effects, since it takes them for
    exchangeable: neighbours that are alike show that they are not.

    Parameters
    ----------
    design
        Theory × survey.
    of
        From `places`.
    neighbours
        Weights of pairs of origins, ``(origin, origin)``, sparse; rows sum to one or zero.
    expected
        Mean probabilities of every row in replicated surveys, ``(obs, alternative)``.

    Returns
    -------
    Battery
        Table: ``alternative``, ``origins``, ``pairs`` (of neighbours), ``statistic`` and the
        values.
    """
    counts = cells_of(of.cells.codes, len(of.labels))
    width = len(design.alternatives)
    statistic = partial(
        _moran,
        cells=counts,
        expected=counts.averages(expected),
        neighbours=neighbours,
        width=width,
    )
    labels = _labels(design, of).assign(
        pairs=int((neighbours + neighbours.T).nnz // 2), statistic=MORAN
    )
    return Battery(
        SPATIAL,
        SPATIAL_KIND,
        labels,
        statistic,
        partial(_enough, chosen=_chosen(design)),
        _spatial_sentence,
        "What the theory leaves over is no more alike in neighbouring origins than by chance",
        "What the theory leaves over is alike in neighbouring origins",
        fresh=True,
        upwards=True,
    )


def neighbours_of(posterior: Posterior, of: Places) -> Any:
    """Weights of neighbouring origins, as the codebook declares them.

    Parameters
    ----------
    posterior
        Its survey's codebook may say who is whose neighbour; else all origins of a region
        are each other's.
    of
        From `places`.

    Returns
    -------
    csr_array or None
        ``(origin, origin)``; rows sum to one, or to zero where there is no neighbour.
        ``None`` where nothing is declared, no origin has a neighbour, or the survey is not at
        hand.

    Raises
    ------
    QuestionError
        Where coordinates of an origin are missing.
    """
    if posterior.survey is None:
        # What its codebook states is not kept with draws: region might not be what it says.
        return None
    stated, design = posterior.survey.codebook.neighbours, posterior.design
    if stated is not None and stated.pairs:
        pairs = _of_pairs(stated.pairs, of)
    elif stated is not None and stated.coordinates:
        columns = [_shown(posterior, c) for c in stated.coordinates]
        pairs = _nearest(posterior.frame[columns], stated.nearest or _NEAREST, of)
    elif stated is not None and stated.within is not None:
        pairs = _of_labels(posterior.frame[_shown(posterior, stated.within)], of)
    elif "region" in design.roles:
        pairs = _of_labels(design.frame[design.roles["region"]], of)
    else:
        return None
    return _standardised(pairs, len(of.labels))


Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


def _of_pairs(stated: Any, of: Places) -> Pairs:
    place = {label: i for i, label in enumerate(of.labels)}
    known = [(place[a], place[b]) for a, b in stated if a in place and b in place]
    if not known:
        raise QuestionError(
            "no pair of neighbours names two origins of the survey",
            where="key neighbours.pairs",
            mend="write origins as the survey has them, such as " + ", ".join(of.labels[:3]),
        )
    one, other = np.array(known, dtype=np.int64).T
    return one, other


def _shown(posterior: Posterior, column: str) -> str:
    """The name under which the survey shows a column of its file: a role's is the role."""
    declared = {c: role for role, c in posterior.survey.roles.declared().items()}  # type: ignore[union-attr]
    return column if column in posterior.frame.columns else declared[column]


def _nearest(coordinates: pd.DataFrame, count: int, of: Places) -> Pairs:
    """Each origin and so many nearest to the mean place of its rows."""
    from scipy.spatial.distance import cdist

    at = coordinates.to_numpy(dtype=float, na_value=np.nan)
    mean = pd.DataFrame(at).groupby(of.cells.codes).mean().to_numpy()
    if lost := [of.labels[i] for i in np.flatnonzero(np.isnan(mean).any(axis=1))]:
        raise QuestionError(
            f"{len(lost):,} origins have no coordinates, such as {lost[0]}",
            where="key neighbours.coordinates",
            mend="complete the columns, or state neighbours by another key",
        )
    count = min(count, len(mean) - 1)
    # Latitudes and longitudes on the globe: straight lines between points order distances.
    latitude, longitude = np.radians(mean.T)
    globe = np.stack(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ],
        axis=1,
    )
    near = np.empty((len(mean), count), dtype=np.int64)
    for start in range(0, len(mean), _CHUNK):
        here = np.arange(start, min(start + _CHUNK, len(mean)))
        apart = cdist(globe[here], globe)
        apart[np.arange(len(here)), here] = np.inf
        near[here] = np.argsort(apart, axis=1, kind="stable")[:, :count]
    return np.repeat(np.arange(len(mean)), count), near.ravel()


def _of_labels(labels: pd.Series, of: Places) -> Pairs:
    """All pairs of origins most of whose rows have the same label."""
    table = pd.crosstab(of.cells.codes, labels.astype(str).to_numpy())
    codes = table.to_numpy().argmax(axis=1)
    one, other = np.nonzero((codes[:, None] == codes) & ~np.eye(len(codes), dtype=bool))
    return one, other


def _standardised(pairs: Pairs, n: int) -> Any:
    from scipy.sparse import csr_array, diags_array

    one, other = pairs
    both = np.concatenate([one, other]), np.concatenate([other, one])
    joined = csr_array((np.ones(len(both[0])), both), shape=(n, n))
    joined.data[:] = 1.0
    total = joined.sum(axis=1)
    if not joined.nnz or ((total == total.max()).all() and total.max() == n - 1):
        # Where all are each other's neighbours, nothing is nearer than anything else.
        return None
    scale = np.divide(1.0, total, out=np.zeros(n), where=total > 0)
    return csr_array(diags_array(scale) @ joined)


def _labels(design: Design, of: Places) -> pd.DataFrame:
    return pd.DataFrame({"alternative": design.alternatives, "origins": len(of.labels)})


def _mass(design: Design, cells: Cells) -> Array:
    """Each origin's part of all weights."""
    weights = np.ones(design.n_obs) if design.weights is None else design.weights
    mass = np.bincount(cells.codes, weights, len(cells.rows))
    return np.asarray(mass / mass.sum())


def _chosen(design: Design) -> NDArray[np.int64]:
    counts = np.bincount(design.choice, minlength=len(design.alternatives))
    return np.minimum(counts, design.n_obs - counts)


def _enough(_: Array, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray(chosen >= _LEAST_CHOOSERS)


def _deviations(choices: Choices, cells: Cells, mass: Array, width: int) -> Array:
    """``(draw, statistic × alternative)``."""
    shares = np.nan_to_num(cells.shares(choices, width))
    gaps = shares - np.einsum("g,dgj->dj", mass, shares)[:, None]
    spread = np.sqrt(np.einsum("g,dgj->dj", mass, np.square(gaps)))
    mean = np.einsum("g,dgj->dj", mass, np.abs(gaps))
    shape = np.divide(mean, spread, out=np.ones_like(mean), where=spread > 0)
    return np.concatenate([spread, shape], axis=1)


def _moran(choices: Choices, cells: Cells, expected: Array, neighbours: Any, width: int) -> Array:
    """``(draw, alternative)``."""
    root = np.sqrt(cells.rows)[:, None]
    found = []
    for j in range(width):
        left = root * (cells.share(choices, j).T - expected[:, [j]])
        left -= left.mean(axis=0)
        own = np.square(left).sum(axis=0) / len(left)
        beside = (left * (neighbours @ left)).sum(axis=0) / max(neighbours.sum(), 1e-300)
        found.append(np.divide(beside, own, out=np.zeros_like(own), where=own > 0))
    return np.stack(found, axis=1)


def _dispersion_sentence(row: Any) -> str:
    if row.statistic == SHAPE:
        kind = "a few are far from all others" if row.observed < row.predicted else "two kinds"
        return (
            f"the {SPREAD} of origins' shares of {row.alternative} has a mean absolute deviation "
            f"of {row.observed:.2f} of it, in replicated surveys {row.lower:.2f} to "
            f"{row.upper:.2f} ({kind})"
        )
    return (
        f"the standard deviation of origins' shares of {row.alternative} is "
        f"{percent(row.observed)}, in replicated surveys {percent(row.lower)} to "
        f"{percent(row.upper)}"
    )


def _spatial_sentence(row: Any) -> str:
    return (
        f"Moran's coefficient of {row.alternative} is {row.observed:.2f}, in replicated surveys "
        f"{row.lower:.2f} to {row.upper:.2f}"
    )
