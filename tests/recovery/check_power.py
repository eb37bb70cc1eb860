"""How often every check fails a true theory, and one that leaves something out.

Worlds are simulated, a theory is fitted to each (a preview, within a second, where that is
enough), and every check is asked: `.venv/bin/python tests/recovery/check_power.py --worlds 60`
appends what is missing to check_power.jsonl and writes the tables of docs/checks.md from it
(`--table` only writes them). What counts is one call of `bayesmig.check`: its checks are
judged together.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bayesmig as bm
from bayesmig.checks import check
from tests.fabricate import ALTERNATIVES, small_frame, survey_of, theory

RESULTS = Path(__file__).with_suffix(".jsonl")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "checks.md"
START, END = "<!-- power -->", "<!-- /power -->"
ROWS, ORIGINS, DRAWS = 2400, 80, 300
#: Constants, and spread of origins, on the log odds of internal and international.
CONSTANTS, SPREAD = np.array([-1.0, -1.6]), np.array([0.4, 0.6])
#: Slopes that every world has unless it says otherwise.
SLOPES = {"female": (0.3, -0.6), "education": (0.08, -0.02), "wealth": (0.25, 0.5)}
THEORY = "female + education + wealth"
POWER, FALSE = 0.8, 0.1


@dataclass(frozen=True)
class World:
    """How choices come about, what the theory of them is, and what should see the difference.

    Attributes
    ----------
    text
        What the theory leaves out, or that it is true.
    make
        Seed -> rows with choices.
    persons, keys
        The theory.
    seen_by
        Checks that are made for it; none of a true theory.
    prior
        Whether what is made of priors is asked too.
    method
        How it is fitted: rows and origins left out are not judged of previews with groups.
    """

    text: str
    make: Callable[[int], pd.DataFrame]
    persons: str = THEORY
    keys: dict[str, Any] = field(default_factory=dict)
    seen_by: tuple[str, ...] = ()
    prior: bool = False
    method: str = "preview"


def rows(seed: int) -> tuple[pd.DataFrame, np.random.Generator]:
    """Rows without their choices."""
    frame = small_frame(ROWS, seed=seed, origins=ORIGINS)
    return frame.drop(columns="choice"), np.random.default_rng(10_000 + seed)


def systematic(
    frame: pd.DataFrame,
    rng: np.random.Generator,
    slopes: dict[str, tuple[float, float]] | None = None,
    spread: np.ndarray = SPREAD,
) -> np.ndarray:
    """Log odds of moving, effects of origins included, ``(obs, 2)``."""
    effects = rng.normal(0, 1, (ORIGINS, 2)) * spread
    odds = CONSTANTS + effects[frame["origin"].str[1:].astype(int)]
    for column, slope in (SLOPES if slopes is None else slopes).items():
        odds = odds + np.outer(frame[column].to_numpy(dtype=float), slope)
    return odds


def chosen(frame: pd.DataFrame, odds: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """The rows with choices by a logit."""
    utility = np.column_stack([np.zeros(len(frame)), odds])
    best = (utility + rng.gumbel(size=utility.shape)).argmax(axis=1)
    return frame.assign(choice=np.array(ALTERNATIVES)[best])


def true_world(seed: int) -> pd.DataFrame:
    frame, rng = rows(seed)
    return chosen(frame, systematic(frame, rng), rng)


def no_origins(seed: int) -> pd.DataFrame:
    frame, rng = rows(seed)
    return chosen(frame, systematic(frame, rng, spread=np.zeros(2)), rng)


def interaction(seed: int) -> pd.DataFrame:
    frame, rng = rows(seed)
    odds = systematic(frame, rng)
    product = (frame["female"] - 0.5) * frame["education"] / 5
    return chosen(frame, odds + np.outer(product, (0.7, 0.7)), rng)


def bend(seed: int) -> pd.DataFrame:
    frame, rng = rows(seed)
    odds = systematic(frame, rng)
    return chosen(frame, odds + np.outer(frame["wealth"] ** 2 - 1, (-0.35, -0.35)), rng)


def left_out_column(seed: int) -> pd.DataFrame:
    frame, rng = rows(seed)
    odds = systematic(frame, rng) + np.outer((frame["age"] - 32) / 10, (-0.3, -0.3))
    return chosen(frame, odds, rng)


def unable(seed: int, steep: float = 1.0) -> pd.DataFrame:
    """Two in five cannot move, whatever they would like: the link is no logit."""
    frame, rng = rows(seed)
    slopes = {"female": (1.0, -1.0), "education": (0.25, 0.05), "wealth": (1.0, 1.5)}
    slopes = {k: (steep * a, steep * b) for k, (a, b) in slopes.items()}
    made = chosen(frame, systematic(frame, rng, slopes) + 1.0, rng)
    made.loc[rng.random(len(made)) < 0.4, "choice"] = "stay"
    return made


def nest(seed: int) -> pd.DataFrame:
    """Internal and international share a nest of 0.3 in which wealth decides."""
    frame, rng = rows(seed)
    slopes = {"female": (0.6, -0.6), "education": (0.15, 0.0), "wealth": (0.4, 1.0)}
    value = systematic(frame, rng, slopes) / 0.3
    top = value.max(axis=1)
    inclusive = 0.3 * (top + np.log(np.exp(value - top[:, None]).sum(axis=1)))
    moves = rng.random(len(frame)) < 1 / (1 + np.exp(-inclusive))
    inner = value + rng.gumbel(size=value.shape)
    best = np.where(moves, 1 + inner.argmax(axis=1), 0)
    return frame.assign(choice=np.array(ALTERNATIVES)[best])


def households(seed: int) -> pd.DataFrame:
    """Members of a household share tastes that the theory does not know."""
    frame, rng = rows(seed)
    shared = rng.normal(0, 1.2, (ROWS, 2))[frame["household"].str[1:].astype(int)]
    return chosen(frame, systematic(frame, rng) + shared, rng)


def regions(seed: int) -> pd.DataFrame:
    """Origins of one of sixteen areas are alike; the theory takes them for exchangeable."""
    frame, rng = rows(seed)
    place = frame["origin"].str[1:].astype(int)
    frame["region"] = "r" + (place // 5).astype(str)
    odds = systematic(frame, rng, spread=0.5 * SPREAD)
    return chosen(frame, odds + (rng.normal(0, 1, (16, 2)) * 0.6)[place // 5], rng)


def heavy_tails(seed: int) -> pd.DataFrame:
    """One origin in ten is far from all others, more than a normal distribution allows."""
    frame, rng = rows(seed)
    far = np.where(rng.random((ORIGINS, 1)) < 0.1, 3.0, 0.0) * rng.choice([-1, 1], (ORIGINS, 1))
    odds = systematic(frame, rng, spread=0.1 * SPREAD)
    return chosen(frame, odds + far[frame["origin"].str[1:].astype(int)], rng)


def panel(seed: int, again: float) -> pd.DataFrame:
    """Three periods; after a move, log odds of the same are higher."""
    rng = np.random.default_rng(20_000 + seed)
    people = ROWS // 3
    base = small_frame(people, seed=seed, origins=ORIGINS).drop(columns=["choice", "household"])
    effects, before, parts = systematic(base, rng), np.zeros((people, 2)), []
    for period in range(3):
        made = chosen(base.assign(period=period), effects + again * before, rng)
        before = np.stack([made["choice"] == a for a in ALTERNATIVES[1:]], axis=1).astype(float)
        parts.append(made)
    return pd.concat(parts, ignore_index=True)


def whole_households_gone(seed: int) -> pd.DataFrame:
    """Households with two or more members abroad have nobody left to answer."""
    frame, rng = rows(seed)
    shared = rng.normal(0, 0.0, (ROWS, 2))[frame["household"].str[1:].astype(int)]
    made = chosen(frame, systematic(frame, rng) + shared + np.array([0.0, 0.8]), rng)
    abroad = (made["choice"] == "international").groupby(made["household"]).transform("sum")
    return made[abroad < 2].reset_index(drop=True)


def one_strange_origin(seed: int, spread: np.ndarray = SPREAD) -> pd.DataFrame:
    """In one large origin nearly all who are well off are said to have gone abroad."""
    frame, rng = rows(seed)
    frame.loc[frame.index[:250], "origin"] = "o00"
    made = chosen(frame, systematic(frame, rng, spread=spread), rng)
    wrong = (made["origin"] == "o00") & (rng.random(len(made)) < 0.9) & (made["wealth"] > 0.5)
    made.loc[wrong, "choice"] = "international"
    return made


def collinear(seed: int) -> pd.DataFrame:
    """Two columns that are nearly one."""
    made = true_world(seed)
    noise = np.random.default_rng(seed).normal(0, 0.02, len(made))
    return made.assign(assets=made["wealth"] + noise)


SHARES, CROSSED = "posterior predictive shares", "posterior predictive crossed shares"
COMPOSITION, DISPERSION = "composition of choosers", "dispersion of origins"
SPATIAL, STREAMS, TRANSITIONS = "spatial structure", "streams of households", "transitions"
CLUSTERING, CALIBRATION = "clustering", "calibration"
RELIABILITY, INFLUENCE = "reliability, each row left out", "influential origins"
PRIOR_SHARES, PRIOR = "prior predictive shares", "prior sensitivity"
PRIOR_GROUPS = "prior predictive shares by group"
CHECKS = (
    *(
        PRIOR_SHARES,
        PRIOR_GROUPS,
        PRIOR,
        SHARES,
        CROSSED,
        COMPOSITION,
        DISPERSION,
        SPATIAL,
        STREAMS,
    ),
    *(TRANSITIONS, CLUSTERING, CALIBRATION, RELIABILITY, INFLUENCE),
)
ALONE: dict[str, Any] = {"groups": []}
WIDE = {"priors": {"persons": {"scale": 30.0}, "asc": {"loc": 0.0, "scale": 30.0}}}
TIGHT = {"priors": {"asc": {"loc": 3.0, "scale": 0.3}}}
WORLDS = {
    "true": World(
        "nothing: the theory is true, with effects of origins",
        true_world,
        prior=True,
        method="auto",
    ),
    "true, no groups": World(
        "nothing: there are no groups, and the theory has none", no_origins, keys=ALONE, prior=True
    ),
    "true, periods": World(
        "nothing: a panel of three periods", lambda s: panel(s, 0.0), method="auto"
    ),
    "interaction": World("a product of two of its columns", interaction, seen_by=(CROSSED,)),
    "bend": World("that wealth has a hump", bend, seen_by=(SHARES,)),
    "column": World("a column of the survey (age)", left_out_column, seen_by=(SHARES, COMPOSITION)),
    "link": World(
        "that two in five cannot move: the link is no logit",
        unable,
        seen_by=(RELIABILITY,),
        method="auto",
    ),
    "steep link": World(
        "the same, with slopes three times as steep",
        lambda s: unable(s, 3.0),
        seen_by=(CALIBRATION, RELIABILITY),
        method="auto",
    ),
    "nest": World("a nest of the two ways to move", nest, seen_by=(RELIABILITY,), method="auto"),
    "origins": World(
        "all differences between origins", true_world, keys=ALONE, seen_by=(CLUSTERING, DISPERSION)
    ),
    "households": World(
        "what members of a household share", households, seen_by=(CLUSTERING, STREAMS)
    ),
    "space": World("that near origins are alike", regions, seen_by=(SPATIAL,)),
    "tails": World(
        "that a few origins are far from all others", heavy_tails, seen_by=(DISPERSION,)
    ),
    "state": World("that who moved moves again", lambda s: panel(s, 0.8), seen_by=(TRANSITIONS,)),
    "selection": World(
        "that households with two abroad are not in the survey",
        whole_households_gone,
        seen_by=(STREAMS,),
    ),
    "contamination": World(
        "that one large origin is coded wrongly",
        lambda s: one_strange_origin(s, np.zeros(2)),
        keys=ALONE,
        seen_by=(INFLUENCE,),
    ),
    "contamination, groups": World(
        "the same, where origins have effects",
        one_strange_origin,
        seen_by=(INFLUENCE,),
        method="auto",
    ),
    "wide priors": World(
        "nothing, but its priors are thirty times too wide",
        no_origins,
        keys=ALONE | WIDE,
        seen_by=(PRIOR_SHARES, PRIOR_GROUPS),
        prior=True,
    ),
    "collinear": World(
        "nothing, but two of its columns are nearly one",
        collinear,
        persons=THEORY + " + assets",
        seen_by=(PRIOR,),
        prior=True,
    ),
    "tight prior": World(
        "nothing, but the prior of constants is tight and elsewhere",
        no_origins,
        keys=ALONE | TIGHT,
        seen_by=(PRIOR_SHARES, PRIOR_GROUPS),
        prior=True,
    ),
}


def outcome(world: World, seed: int) -> dict[str, bool | None]:
    """Whether each check passed."""
    survey = survey_of(world.make(seed))
    posterior = bm.fit(
        theory(world.persons, **world.keys),
        survey,
        seed=seed,
        method=world.method,
        chains=2,
        draws=500,
        progress=False,
    )
    results = check(posterior, draws=DRAWS, seed=seed, prior=world.prior, allow_unconverged=True)
    return {r.name: r.passed for r in results if r.name != "convergence"}


def run(count: int, seconds: float) -> bool:
    """Append what is missing; whether nothing is any more."""
    done = {(r["world"], r["seed"]) for r in records()}
    started = time.monotonic()
    for seed in range(count):
        for name, world in WORLDS.items():
            if (name, seed) in done:
                continue
            if time.monotonic() - started > seconds:
                return False
            line = {"world": name, "seed": seed, "passed": outcome(world, seed)}
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    return True


def records() -> list[dict[str, Any]]:
    """What was found so far."""
    if not RESULTS.is_file():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def rates(found: list[dict[str, Any]]) -> pd.DataFrame:
    """Per world and check: ``asked`` and ``failed``, numbers of surveys."""
    lines = [
        {"world": r["world"], "check": name, "asked": passed is not None, "failed": passed is False}
        for r in found
        for name, passed in r["passed"].items()
    ]
    return pd.DataFrame(lines).groupby(["world", "check"], sort=False).sum().reset_index()


def any_failed(found: list[dict[str, Any]], world: str) -> tuple[int, int]:
    """Surveys in which a check of replicated surveys failed, and all."""
    some = [r["passed"] for r in found if r["world"] == world]
    of = [
        any(p is False for n, p in r.items() if n not in (PRIOR_SHARES, PRIOR_GROUPS, PRIOR))
        for r in some
    ]
    return sum(of), len(of)


def tables(found: list[dict[str, Any]]) -> str:
    """The tables of docs/checks.md."""
    table = rates(found).set_index(["world", "check"])

    def share(world: str, name: str) -> str:
        if (world, name) not in table.index or not table.loc[(world, name), "asked"]:
            return ""
        asked, failed = table.loc[(world, name), ["asked", "failed"]]
        return f"{failed / asked:.2f}"

    true = [w for w, world in WORLDS.items() if not world.seen_by]
    lines = [
        "| check | " + " | ".join(true) + " | at most 0.10 |",
        "|---|" + "--:|" * len(true) + "---|",
    ]
    for name in CHECKS:
        cells = [share(w, name) for w in true]
        known = [float(c) for c in cells if c]
        verdict = "yes" if known and max(known) <= FALSE else "**no**" if known else "not asked"
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {verdict} |")
    of_any = [any_failed(found, w) for w in true]
    cells = [f"{failed / n:.2f}" if n else "" for failed, n in of_any]
    worst = max((failed / n for failed, n in of_any if n), default=0.0)
    lines += [
        "| any against replicated surveys | "
        + " | ".join(cells)
        + f" | {'yes' if worst <= FALSE else '**no**'} |",
        "",
        "| the theory leaves out | surveys | the check made for it | fails | at least 0.80 "
        "| others that fail in a tenth or more |",
        "|---|--:|---|--:|---|---|",
    ]
    for world, of in WORLDS.items():
        n = sum(r["world"] == world for r in found)
        for i, name in enumerate(of.seen_by):
            power = share(world, name)
            reached = "yes" if power and float(power) >= POWER else "**no**"
            others = [
                f"{c} {share(world, c)}"
                for c in CHECKS
                if c not in of.seen_by and share(world, c) and float(share(world, c)) >= FALSE
            ]
            first = [of.text, str(n)] if not i else ["", ""]
            last = ", ".join(others) if not i else ""
            lines.append(f"| {' | '.join(first)} | {name} | {power} | {reached} | {last} |")
    return "\n".join(lines)


def write() -> None:
    """Put the tables into the page, between its marks."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n{tables(records())}\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=60, help="surveys per world")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--table", action="store_true", help="write the tables only")
    options = parser.parse_args()
    if not options.table:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run(options.worlds, options.seconds)
    if PAGE.is_file() and records():
        write()


if __name__ == "__main__":
    main()
