"""Separated alternatives are named before any sampling, in whatever block they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from bayesmig.choice.utility import Coefficients, Columns
from bayesmig.design import separation
from bayesmig.design.differences import centre_of
from bayesmig.design.separation import comparisons_of, directions, shows_maximum
from bayesmig.errors import DesignError
from tests.design.people import ALTERNATIVES, COST, design, people, theory
from tests.random_columns import random_choice, random_columns, utility_by_loops

BLOCKS = ("asc", "persons", "only", "alternatives")
FLAT = {block: {"dist": "flat"} for block in BLOCKS}


def refused(persons: str, frame: pd.DataFrame, *, attributes: Any = None, **keys: Any) -> str:
    with pytest.raises(DesignError) as caught:
        design(theory(persons, **keys), frame, attributes=attributes)
    assert caught.value.mend
    return caught.value.what


def notes(persons: str, frame: pd.DataFrame, *, attributes: Any = None, **keys: Any) -> list[str]:
    return list(design(theory(persons, **keys), frame, attributes=attributes).support.warnings)


def abroad(frame: pd.DataFrame) -> np.ndarray:
    return (frame["choice"] == "international").to_numpy()


# ------------------------------------------------------------------------- by brute force


def every_comparison(columns: Columns, choice: np.ndarray) -> tuple[list[tuple[int, int]], Any]:
    """(row, other alternative) and gain per coefficient, from loops over utilities."""
    k, width = columns.persons.shape[1], columns.n_alternatives - 1
    n_only = sum(block.shape[1] for block in columns.only.values())
    m = 0 if columns.attributes is None else columns.attributes.shape[2]
    size = k * width + n_only + m
    places, gains = [], []
    for row in range(len(choice)):
        by_coefficient = []
        for c in range(size):
            one = np.eye(size)[c]
            by_coefficient.append(
                utility_by_loops(
                    columns,
                    Coefficients(
                        persons=one[: k * width].reshape(k, width),
                        only=one[k * width : k * width + n_only],
                        attributes=one[k * width + n_only :],
                    ),
                    row,
                )
            )
        for j in range(width + 1):
            closed = columns.available is not None and not columns.available[row, j]
            if j != choice[row] and not closed:
                places.append((row, j))
                gains.append([u[choice[row]] - u[j] for u in by_coefficient])
    return places, np.array(gains).reshape(len(places), size)


def separated_by_hand(gains: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Comparisons that can gain one while none loses: all of them at once, in one programme."""
    n, size = len(gains), int(free.sum())
    solved = linprog(
        np.concatenate([np.zeros(size), -np.ones(n)]),
        A_ub=np.hstack([-gains[:, free], np.eye(n)]),
        b_ub=np.zeros(n),
        bounds=[(None, None)] * size + [(0.0, 1.0)] * n,
    )
    assert solved.status == 0
    return solved.x[size:] > 0.5


@pytest.mark.parametrize("few", [20_000, 3])
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 2**32 - 1))
def test_what_is_separated_is_what_one_large_programme_finds(
    monkeypatch: pytest.MonkeyPatch, few: int, seed: int
) -> None:
    """Small whole numbers tie and separate often; some coefficients may not move.

    Also where a few rows are asked before the others.
    """
    monkeypatch.setattr(separation, "_FEW", few)
    rng = np.random.default_rng(seed)
    columns = random_columns(rng, n=int(rng.integers(4, 40)), alternatives=3, groups=())
    columns.persons[:] = columns.persons.round()
    for block in columns.only.values():
        block[:] = block.round()
    choice = random_choice(rng, columns)
    places, gains = every_comparison(columns, choice)
    free = rng.random(gains.shape[1]) < 0.7
    comparisons = comparisons_of(columns, choice)
    found = np.zeros((len(choice), 3), dtype=bool)
    for direction in directions(comparisons, free):
        margins = comparisons.margins(direction)
        assert margins.min() >= -1e-6
        assert (direction[~free] == 0).all()
        found |= margins > 1e-6
    expected = separated_by_hand(gains, free) if len(places) and free.any() else []
    wanted = [
        place for place, strict in zip(places, expected, strict=bool(len(expected))) if strict
    ]
    assert sorted(zip(*map(list, np.nonzero(found)), strict=True)) == wanted


def test_rows_that_show_a_maximum_are_right_and_mostly_found() -> None:
    """Against the programme of all comparisons; a few rows of many must do as well."""
    agreed, missed = [], 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n, width = int(rng.integers(5, 40)), int(rng.integers(2, 5))
        columns = random_columns(rng, n=n, alternatives=width, groups=())
        columns.persons[:] = columns.persons.round()
        choice = random_choice(rng, columns)
        places, gains = every_comparison(columns, choice)
        every = np.ones(gains.shape[1], dtype=bool)
        separated = bool(len(places)) and separated_by_hand(gains, every).any()
        comparisons = comparisons_of(columns, choice)
        found = shows_maximum(comparisons)
        assert not (separated and (found or shows_maximum(comparisons, shown=5)))
        ranked = np.linalg.matrix_rank(gains) == gains.shape[1] if len(places) else False
        missed += not (found or separated) and ranked
        agreed.append(found)
    assert 100 < sum(agreed) < 180
    assert missed <= 2


def of_persons(persons: np.ndarray, choice: np.ndarray) -> separation.Comparisons:
    """A choice between two by a constant, ``x`` and ``z``."""
    columns = Columns(
        n_alternatives=2,
        base=0,
        persons=np.column_stack([np.ones(len(choice)), persons]),
        only={},
        attributes=None,
        groups={},
        available=None,
    )
    return comparisons_of(columns, choice, centre_of(columns, ("asc", "x", "z")))


@pytest.mark.parametrize("few", [2, 4, 8])
def test_steps_that_overshoot_show_no_maximum(few: int) -> None:
    """A few rows lie far out and are separated: their probabilities fall below rounding."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(800, 1500))
        x = rng.normal(size=n)
        choice = (4.0 * x + rng.logistic(size=n) > 0).astype(np.int64)
        far = np.where(np.arange(few) % 2, -30.0, 30.0)
        persons = np.column_stack([np.r_[x, far], np.r_[np.zeros(n), np.ones(few)]])
        comparisons = of_persons(persons, np.r_[choice, np.ones(few, dtype=np.int64)])
        assert not shows_maximum(comparisons)
        # One who did not choose as they did, and there is one.
        held = np.r_[choice, np.ones(few - 1, dtype=np.int64), 0]
        assert next(directions(of_persons(persons, held), np.ones(3, dtype=bool)), None) is None


def test_rows_that_do_not_tell_a_column_show_no_maximum() -> None:
    """A rare column that separates is zero in all the rows that are looked at."""
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=20_000), np.zeros(20_000)
    choice = (x + rng.logistic(size=20_000) > 0).astype(np.int64)
    z[[7, 11]], choice[[7, 11]] = 1.0, 1
    comparisons = of_persons(np.column_stack([x, z]), choice)
    assert not shows_maximum(comparisons)
    assert not shows_maximum(comparisons, shown=20_000)
    choice[11] = 0
    assert shows_maximum(of_persons(np.column_stack([x, z]), choice), shown=20_000)


def test_many_alternatives_are_shown_by_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of every comparison grow with the cube of the alternatives."""
    rng = np.random.default_rng(0)
    columns = random_columns(rng, n=20_000, alternatives=9, groups=())
    comparisons = comparisons_of(columns, random_choice(rng, columns))
    sizes: list[int] = []
    rows = separation.Comparisons.rows

    def counted(self: separation.Comparisons, obs: np.ndarray, other: np.ndarray) -> np.ndarray:
        sizes.append(len(obs) * 8 * len(self.scale))
        return rows(self, obs, other)

    monkeypatch.setattr(separation.Comparisons, "rows", counted)
    assert shows_maximum(comparisons)
    assert len(sizes) == 1
    assert sizes[0] <= separation._SHOWN_SIZE


# ----------------------------------------------------------------------- perfect separation


def ticket(f: pd.DataFrame) -> np.ndarray:
    return np.where(abroad(f), 1.0, -(f["wealth"] ** 2))


def test_one_column_that_separates_is_named() -> None:
    frame = people().assign(ticket=ticket)
    what = refused("wealth + ticket + female", frame)
    assert what.startswith("the column 'ticket' separates 'international' from 'stay' perfectly")


def test_columns_that_separate_together_are_found() -> None:
    rng = np.random.default_rng(3)
    a, noise = rng.normal(size=(2, 300))
    frame = people().assign(a=a, b=lambda f: a + np.where(abroad(f), 1, -1) * np.abs(noise))
    what = refused("a + female + wealth + b", frame)
    assert what.startswith("the columns 'a', 'b' together separate 'international' from 'stay'")
    for alone in ("a", "b"):
        assert notes(f"{alone} + female", frame, priors=FLAT) == []


def test_one_case_that_does_not_fit_undoes_the_separation() -> None:
    """The negative control: as above, but for a single person."""
    frame = people().assign(ticket=ticket)
    frame.loc[frame.index[frame["choice"] == "stay"][0], "ticket"] = 2.0
    assert notes("wealth + ticket", frame, priors=FLAT) == []


@pytest.mark.parametrize("alternative", ["international", "stay"])
def test_a_block_of_one_alternative_that_separates_is_refused(alternative: str) -> None:
    frame = people().assign(tell=lambda f: (f["choice"] == alternative).astype(int))
    told = {"utility": {"only": {alternative: "tell"}}}
    for priors in (FLAT, {}):
        what = refused("female", frame, **told, priors=priors)
        assert "the column 'tell' separates" in what
        assert repr(alternative) in what
        assert "perfectly" in what
    mixed = frame.assign(tell=frame["tell"].where(frame.index > 40, frame["urban"]))
    assert notes("female", mixed, **told, priors=FLAT) == []


def test_an_attribute_that_separates_is_refused() -> None:
    """What was chosen is always cheaper, as where only the chosen ticket's price is known."""
    frame = people()
    for j in ALTERNATIVES[1:]:
        frame[f"cost_{j}"] = np.where(frame["choice"] == j, -1.0, frame[f"cost_{j}"])
    costly = {"utility": {"alternatives": "cost"}, "attributes": COST}
    for priors in (FLAT, {}):
        what = refused("female", frame, **costly, priors=priors)
        assert what.startswith("the column 'cost' separates 'internal' from 'stay' perfectly")
    frame.loc[frame.index[frame["choice"] == "internal"][:3], "cost_internal"] = 9.0
    frame.loc[frame.index[abroad(frame)][:3], "cost_international"] = 30.0
    assert notes("female", frame, **costly, priors=FLAT) == []


def test_a_third_alternative_may_hold_apart_what_a_pair_alone_does_not() -> None:
    """Movers abroad and stayers never share a value, and yet the maximum is finite."""
    chosen = ["stay"] * 6 + ["international"] * 6 + ["internal"] * 6
    x = [0.0, -0.1, 0.1] * 2 + [1.0, 1.1, 0.9] * 2 + [-1.0, 2.0, 0.5] * 2
    frame = pd.DataFrame({"choice": chosen, "x": x})
    assert notes("x", frame, priors=FLAT) == []


# ---------------------------------------------------------------------- but for some rows

CELLS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "nobody with visa = 1": lambda y, r: ~y & (r > 0.5),
    "nobody with visa = 0": lambda y, r: y | (r > 0.5),
    "everybody with visa = 1": lambda y, r: y & (r > 0.5),
    "everybody with visa = 0": lambda y, r: ~y | (r > 0.5),
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("code", [1, 2])
def test_an_empty_cell_is_a_note_under_a_proper_prior_and_refused_under_a_flat_one(
    cell: str, code: int
) -> None:
    frame = people()
    lucky = np.random.default_rng(5).uniform(size=len(frame))
    frame["visa"] = code * CELLS[cell](abroad(frame), lucky).astype(int)
    cell = cell.replace("= 1", f"= {code}")
    said = f"{cell} chose 'international' rather than 'stay' or 'internal'"
    assert notes("wealth + visa", frame) == [f"{said}: the coefficient rests on the prior"]
    assert refused("wealth + visa", frame, priors=FLAT) == (
        f"{said}: the likelihood has no maximum, and the prior is flat"
    )


def test_a_prior_on_the_constant_may_hold_what_a_flat_one_does_not() -> None:
    """Nobody without a visa moved: the constant would run off, and it may not."""
    frame = people()
    lucky = np.random.default_rng(5).uniform(size=len(frame))
    persons = {"persons": FLAT["persons"]}
    frame["visa"] = CELLS["nobody with visa = 0"](abroad(frame), lucky).astype(int)
    assert len(notes("wealth + visa", frame, priors=persons)) == 1
    frame["visa"] = CELLS["nobody with visa = 1"](abroad(frame), lucky).astype(int)
    assert "nobody with visa = 1" in refused("wealth + visa", frame, priors=persons)


def test_one_tie_of_a_continuous_column_does_not_hide_the_separation() -> None:
    frame = people().assign(ticket=lambda f: np.abs(f["wealth"]) * np.where(abroad(f), 1, -1))
    least = frame.loc[abroad(frame), "ticket"].min()
    frame.loc[frame.index[frame["choice"] == "stay"][0], "ticket"] = least
    what = refused("ticket", frame, priors=FLAT)
    assert what.startswith(
        "the column 'ticket' separates 'international' from 'stay' or 'internal'"
    )
    assert "but for ties" in what
    assert len(notes("ticket", frame)) == 1
    frame.loc[frame.index[frame["choice"] == "stay"][0], "ticket"] = least + 0.01
    assert notes("ticket", frame, priors=FLAT) == []


def test_columns_that_have_no_part_in_it_are_not_named() -> None:
    """Counts that go with one choice only, among columns with many terms."""
    for seed in range(8):
        frame = people(1000, seed=seed)
        counts = np.random.default_rng(seed).poisson(0.2, (2, 1000))
        frame["kin"] = np.where(abroad(frame), 0, counts[0])
        frame["friends"] = np.where(frame["choice"] == "internal", 0, counts[1])
        found = notes("female * education * wealth + square(wealth) + kin + friends", frame)
        assert sorted(found) == [
            f"the column {name!r} separates {one!r} from 'stay' or {other!r} but for ties: "
            "the coefficient rests on the prior"
            for name, one, other in (
                ("friends", "internal", "international"),
                ("kin", "international", "internal"),
            )
        ]


def test_an_empty_reference_level_is_found() -> None:
    frame = people()
    frame.loc[abroad(frame) & (frame["region"] == "west").to_numpy(), "region"] = "north"
    told = "C(region, reference='west')"
    what = refused(told, frame, priors=FLAT)
    assert "'region[north]', 'region[south]' together separate 'international'" in what
    assert notes(told, people(), priors=FLAT) == []


@pytest.mark.parametrize("block", ["persons", "only"])
def test_full_cells_are_neither_noted_nor_refused(block: str) -> None:
    utility = {"only": {"international": "urban"}} if block == "only" else {}
    persons = "wealth + female" + (" + urban" if block == "persons" else "")
    assert notes(persons, people(), utility=utility, priors=FLAT) == []


def test_true_worlds_are_not_separated() -> None:
    """Rare alternatives, skewed columns, all blocks at once."""
    for seed in range(10):
        frame = people(400, seed=seed).assign(rich=lambda f: np.exp(2 * f["wealth"]))
        rest = {"only": {"international": "rich"}, "alternatives": "cost + cost:female"}
        found = notes(
            "female * education + C(region, reference='west')",
            frame,
            attributes=COST,
            utility=rest,
            priors=FLAT,
        )
        assert found == []


# --------------------------------------------------------------------------- availability


def test_only_those_who_could_choose_it_count_towards_separation() -> None:
    """Holders of a visa who stay behind a closed border do not make it look harmless."""
    frame = people()
    moved = abroad(frame)
    frame["open"] = (moved | (frame["urban"] == 1)).astype(int)
    frame["visa"] = np.where(frame["open"] == 1, moved & (frame["female"] == 1), frame["female"])
    limited = {"available": {"international": "open"}, "priors": FLAT}
    what = refused("wealth + visa", frame, **limited)
    assert "everybody with visa = 1 chose 'international' rather than 'stay'" in what
    assert notes("wealth + visa", frame, priors=FLAT) == []


def test_an_alternative_open_to_its_choosers_alone_is_named() -> None:
    frame = people().assign(open=lambda f: abroad(f).astype(int))
    limited = {"available": {"international": "open"}}
    said = "everybody with both available chose 'international' rather than 'stay' or 'internal'"
    assert notes("wealth", frame, **limited) == [f"{said}: the coefficient rests on the prior"]
    assert said in refused("wealth", frame, **limited, priors=FLAT)
    frame.loc[frame["choice"] != "international", "open"] = frame["urban"]
    assert notes("wealth", frame, **limited, priors=FLAT) == []
