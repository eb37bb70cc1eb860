"""Samples of a population that depend on what people chose: informative and clustered.

The sampling design of household surveys, with its difficulty made as large as one likes: places
are drawn first, with probabilities that depend on how many there chose what, and people in
them with probabilities that depend on their own choice. Weights are the inverses of the
probabilities. What a sample without weights says of the population is then wrong, and what one
with weights says is less certain than its number of rows (Pfeffermann 1993,
doi 10.2307/1403631).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bayesmig.errors import SpecError


def draw_sample(
    population: pd.DataFrame,
    *,
    psu: str,
    psus: int,
    persons: int,
    seed: int,
    choice: str = "choice",
    favour: Mapping[str, float] | None = None,
    favour_places: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Draw places with replacement, and people in them, by what they chose.

    Parameters
    ----------
    population
        One row per person.
    psu
        Column of places, the primary sampling units.
    psus, persons
        Draws of places; people drawn in each.
    seed
        Seed.
    choice
        Column of choices.
    favour
        Choice -> how likely one who made it is drawn, against 1 of all others.
    favour_places
        Choice -> by how much the log probability of a place rises with the share who made it.

    Returns
    -------
    DataFrame
        The rows drawn, with ``weight``, how many people of the population a row stands for, and
        ``psu``, the number of the draw: a place that is drawn twice is two PSUs.

    Raises
    ------
    SpecError
        Where a column is not there, or a number is not possible.

    Notes
    -----
    Within a place people are drawn one after the other with probabilities in proportion to their
    favour among all of it (with replacement too), so that weights are exact.
    """
    _check(population, (psu, choice), psus, persons, {**(favour or {})})
    rng = np.random.default_rng(seed)
    codes, places = pd.factorize(population[psu], sort=True)
    chosen = population[choice].astype(str).to_numpy()
    size = np.bincount(codes).astype(float)
    pull = np.log(size)
    for name, slope in (favour_places or {}).items():
        pull += slope * np.bincount(codes, chosen == name, len(places)) / size
    of_places = np.exp(pull - pull.max())
    of_places /= of_places.sum()
    own = np.array([(favour or {}).get(name, 1.0) for name in chosen])
    rows, weights, draws = [], [], []
    for draw, place in enumerate(rng.choice(len(places), size=psus, p=of_places)):
        here = np.flatnonzero(codes == place)
        share = own[here] / own[here].sum()
        taken = rng.choice(len(here), size=persons, p=share)
        rows.append(here[taken])
        weights.append(1 / (psus * of_places[place] * persons * share[taken]))
        draws.append(np.full(persons, draw))
    return (
        population.iloc[np.concatenate(rows)]
        .reset_index(drop=True)
        .assign(weight=np.concatenate(weights), psu=np.concatenate(draws))
    )


def _check(
    population: pd.DataFrame,
    columns: tuple[str, ...],
    psus: int,
    persons: int,
    favour: Mapping[str, float],
) -> None:
    if not isinstance(population, pd.DataFrame):
        raise SpecError(
            f"the population is a {type(population).__name__}, no DataFrame",
            where="draw_sample",
            mend="give a table of people, such as read_survey(...).frame",
        )
    for column in columns:
        if column not in population.columns:
            raise SpecError(f"the population has no column {column!r}", where="draw_sample")
    if psus < 2 or persons < 1:
        raise SpecError(
            f"two PSUs and one person are the least, got {psus} and {persons}", where="draw_sample"
        )
    if any(not (np.isfinite(f) and f > 0) for f in favour.values()):
        raise SpecError("favours are numbers above 0", where="draw_sample(favour=...)")
