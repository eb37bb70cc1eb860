"""The recovery matrix: theories in worlds where their claims are true, reversed, or about nothing.

Run ``python -m tests.recovery.matrix --help`` in the repository. Results are appended to a
file of JSON lines, so that the work may be done in pieces and goes on where it stopped;
``--into docs/recovery.md`` writes the published tables from them.
"""

from __future__ import annotations

import argparse
import json
import time
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmig import hypotheses
from bayesmig.design.design import Design, build_design
from bayesmig.inference.layout import scale_shape
from bayesmig.inference.routes import fit
from bayesmig.model_comparison import compare
from bayesmig.posterior import Posterior
from bayesmig.sensitivity import LEANS, WEAK
from bayesmig.simulation import simulate
from bayesmig.simulation.worlds import CLASSES, STREAMS, columns_of, stream_of, true_parameters
from bayesmig.simulation.worlds import World as Setting
from bayesmig.spec.library import load_model
from bayesmig.spec.model import Hypothesis, ModelSpec
from bayesmig.survey.survey import Survey, read_survey
from tests.fabricate import fabricated

#: Claims true; untrue, the sign reversed; the effect that the theory is about absent.
WORLDS = ("true", "false", "null")
RESULTS = Path(__file__).parent / "results.jsonl"
#: Simulated worlds other than Albania's, for theories of what only they have: theory -> world.
SETTINGS: Mapping[str, Setting] = {
    "substitution": "regimes",
    "liquidity_constraint": "regimes",
    "destinations": "destinations",
}
#: The cells whose effects worlds may have, as theories name them.
CELLS = ":".join(("female", *CLASSES))
#: Theories of choosing households, of which there are fewer than persons.
HOUSEHOLDS = ("household_strategies",)
PERSONS, REPLICATIONS, PER_HOUSEHOLD = 4_000, 10, 4
#: Theories that are compared with each other, none of them a special case of another.
RIVALS = (
    "wealth_and_liquidity",
    "network_selectivity",
    "network_saturation",
    "household_substitutes",
    "border_regime",
    "internal_regime",
    "relative_deprivation",
)
#: Between them stand the tables of docs/recovery.md.
BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"
#: And between these its sentences that count.
FOUND, END_FOUND = "<!-- counts -->", "<!-- end of counts -->"
COMPARED = {5_000: 2, 500: 2}
#: Estimands of up to so much are zero, which draws that are not quite one point miss.
_NONE = 1e-6
Effects = dict[str, float]


# ------------------------------------------------------------------------------ worlds


@cache
def claims() -> Mapping[str, Mapping[str, Effects]]:
    """Theory -> world -> effects; and those that all worlds have."""
    text = (Path(__file__).parent / "claims.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def theories() -> tuple[str, ...]:
    """The theories that have worlds."""
    return tuple(name for name in claims() if name != "common")


def term_of(label: str) -> str:
    """The simulator's name of a coefficient's label: ``square(x)`` is ``x:x``."""
    parts = [f"{p[7:-1]}:{p[7:-1]}" if p.startswith("square(") else p for p in label.split(":")]
    return ":".join(parts)


def same(term: str) -> tuple[str, ...]:
    """A term, whatever the order of its columns."""
    return tuple(sorted(term.split(":")))


def effects_of(theory: str, world: str) -> Effects:
    """Every effect of a world: those of the file, and 0 for what the theory does not have."""
    spec = load_model(theory)
    labels = [":".join(f.name for f in term) for term in spec.utility.persons_formula.terms]
    labels += spec.utility.shared_columns
    labels += [column for pool in spec.pools for column in pool.columns]
    kept = {same("asc"), *(same(term_of(label)) for label in labels)}
    known = true_parameters(SETTINGS.get(theory, "albania"), unit_of(theory))
    zero = {
        name: 0.0
        for name in known
        if name.startswith("utility.") and same(name.split(".", 2)[2]) not in kept
    }
    zero |= {name: 0.0 for name in known if name.startswith("alternatives.")}
    # At no exposure, coefficients of education hold what its product does at typical
    # exposure; where the product is gone, so is that.
    zero |= {n: 0.0 for n in ("utility.international.education",) if n in known}
    formulas = [spec.utility.persons_formula, *spec.utility.only_formulas.values()]
    own = [term_of(":".join(f.name for f in term)) for of in formulas for term in of.terms]
    own = [term for term in own if not term.startswith("C(")]
    own += [column for pool in spec.pools for column in pool.columns]
    zero |= {n: 0.0 for s in STREAMS for term in own if (n := f"utility.{s}.{term}") not in known}
    stated = claims()[theory]
    own = dict(stated["true"]) if world == "null" else {}
    common = {
        name: value
        for name, value in claims()["common"].items()
        if name in known or theory not in HOUSEHOLDS
    }
    return zero | common | own | dict(stated[world])


def unit_of(theory: str) -> Literal["person", "household"]:
    """Who chooses in the worlds of a theory."""
    return "household" if theory in HOUSEHOLDS else "person"


def simulated(persons: int, unit: Literal["person", "household"]) -> int:
    """Persons that are simulated for so many who choose, or about as many households."""
    return persons * (PER_HOUSEHOLD if unit == "household" else 1)


def declared(effects: Effects, names: Iterable[str]) -> Effects:
    """The effects, and zeros that bring the columns of other theories into the survey."""
    of_theories = [claims()[name]["true"] for name in names]
    columns = {c for e in of_theories for c in columns_of(e)}
    return {f"utility.{s}.{c}": 0.0 for s in STREAMS for c in sorted(columns)
            if c not in columns_of(true_parameters("albania", "person"))} | effects  # fmt: skip


def survey_of(
    effects: Effects,
    persons: int,
    seed: int,
    world: Setting = "albania",
    unit: Literal["person", "household"] = "person",
) -> tuple[Survey, dict[str, Any]]:
    """A survey of a world, and what is true in it: ``utility`` -> stream -> term -> value."""
    with TemporaryDirectory() as folder:
        made = simulate(
            Path(folder) / "survey",
            persons=simulated(persons, unit),
            seed=seed,
            effects=effects,
            world=world,
            unit=unit,
        )
        truth: dict[str, Any] = tomllib.loads(made.truth.read_text())["true"]
        return read_survey(made.codebook), with_destinations(with_both(truth))


def with_both(truth: dict[str, Any]) -> dict[str, Any]:
    """The truth with the utility of both streams at once, their sum and what they add to it."""
    utility = truth["utility"]
    if "both" not in utility:
        return truth
    parts, more = [utility[stream] for stream in STREAMS], utility["both"]["association"]
    both = {term: sum(of[term] for of in parts) for term in parts[0]}
    both["asc"] += more
    return truth | {"utility": {**utility, "both": both}}


def with_destinations(truth: dict[str, Any]) -> dict[str, Any]:
    """The truth of each place that a stream goes to: its stream's, and its own beside it."""
    if "destination" not in truth:
        return truth
    utility, places = {}, {p: stream_of(p) for p in truth["destination"]}
    for place, stream in places.items():
        of = truth["utility"][stream]
        utility[place] = of | {"asc": of["asc"] + truth["destination"][place]}
    shared, own = truth["sigma_origin"], truth["sigma_destination"]
    sigma = {p: float(np.hypot(shared[s], own[s])) for p, s in places.items()}
    correlation = truth["corr_origin"]["internal:international"]
    pairs = {}
    for (a, in_a), (b, in_b) in combinations(places.items(), 2):
        of_streams = 1.0 if in_a == in_b else correlation
        pairs[f"{a}:{b}"] = of_streams * shared[in_a] * shared[in_b] / (sigma[a] * sigma[b])
    return truth | {"utility": utility, "sigma_origin": sigma, "corr_origin": pairs}


def true_values(design: Design, truth: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The true coefficients of a theory's design, by block."""
    utility = {
        stream: {same(term): value for term, value in of.items()}
        for stream, of in truth["utility"].items()
    }

    pools = {pool.name: pool.by for pool in design.spec.pools}

    def of(stream: str, label: str) -> float:
        if label in pools:
            return float(np.mean(scaled(design, utility[stream], pools[label])))
        # Worlds have no effects of classes, which stand beside the lines of what is classed.
        return 0.0 if "[" in label else utility[stream][same(term_of(label))]

    found = {"beta": np.array([[of(s, label) for s in design.nonbase] for label in design.persons])}
    if design.only:
        found["beta_only"] = np.array([of(s, term) for s, term in design.only])
    if design.attribute_terms:
        shared = design.spec.utility.shared_columns
        found["gamma"] = np.array(
            [
                np.mean([of(s, name) for s in design.nonbase])
                if name in shared
                else truth["alternatives"][name]
                for name in design.attribute_terms
            ]
        )
    if nests := design.spec.nests:
        found["lambda_nest"] = np.array([truth["lambda_nest"][nest.name] for nest in nests])
    if design.feasibility:
        parts = design.feasibility.labels
        found["feasibility"] = np.array([truth["feasible"][s][term] for s, term in parts])
    if design.columns.curves:
        curve = truth["curve"]["international"]
        names = {"curve_effect": "effect", "half_saturation": "half_saturation",
                 "hill_exponent": "exponent"}  # fmt: skip
        found |= {name: np.array([curve[key]]) for name, key in names.items()}
    return found


def scaled(design: Design, utility: Mapping[Any, float], by: str) -> np.ndarray:
    """True effects of the columns of a pool per standard deviation."""
    encoder = design.layouts[by].encoder
    return np.array([utility[same(c)] for c in encoder.names]) * encoder.sizes


def with_effects_of_everyone(design: Design, truth: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """`true_values`, where a square is a line and bends, by least squares; and deviations."""
    found, utility = true_values(design, truth), truth["utility"]
    for smooth in design.spec.smooths:
        by, column = f"smooth_{smooth.column}", smooth.column
        x = design.frame[column].to_numpy(dtype=float)
        basis = np.column_stack([np.ones(len(x)), x, design.columns.groups[by][1]])
        constant, line, *bends = np.linalg.lstsq(basis, x**2, rcond=None)[0]
        squares = np.array([utility[s].get(f"{column}:{column}", 0.0) for s in design.nonbase])
        found["beta"][design.persons.index("asc")] += constant * squares
        found["beta"][design.persons.index(column)] += line * squares
        found[f"u_{by}"] = np.outer(squares, bends)[None]
    for pool in design.spec.pools:
        terms = [{same(t): v for t, v in utility[s].items()} for s in design.nonbase]
        values = np.array([scaled(design, of, pool.by) for of in terms])
        found[f"u_{pool.by}"] = (values - values.mean(axis=1, keepdims=True))[None]
    if shared := design.spec.utility.shared_columns:
        values = np.array([[utility[s][name] for name in shared] for s in design.nonbase])
        encoder = design.layouts["deviation"].encoder
        apart = (values - values.mean(axis=0)) * encoder.sizes
        found["u_deviation"] = apart[None]
    return found


def at_the_truth(design: Design, truth: Mapping[str, Any], world: str) -> dict[str, bool]:
    """Whether each hypothesis holds at the true coefficients, in origins drawn anew.

    In a null world what lies within the ROPE does not hold: of equal coefficients averages
    may differ a little, as lifts of streams do whose origins differ more or less.
    """
    centre = with_effects_of_everyone(design, truth)
    for by, layout in design.layouts.items():
        unit = "cell" if by == CELLS else by.partition(":")[0]
        if f"sigma_{unit}" not in truth:
            # Effects of everyone have their values; cells of most worlds have none.
            centre[f"sigma_{by}"] = np.full(scale_shape(design, layout), 1e-9)
            continue
        slopes = truth.get("sigma_slope", {})
        scales = [
            [truth[f"sigma_{unit}"][s] if t == "asc" else slopes[s][t] for t in layout.terms]
            for s in design.nonbase
        ]
        # Effects of none have no correlation, and draws ask for one.
        centre[f"sigma_{by}"] = np.maximum(scales, 1e-9)
        if layout.correlated and layout.terms == ("asc",):
            # Cells have uncorrelated effects.
            known = truth.get(f"corr_{unit}", {"internal:international": 0.0})
            pairs = np.eye(len(design.nonbase))
            for (i, a), (j, b) in combinations(enumerate(design.nonbase), 2):
                pairs[i, j] = pairs[j, i] = known[f"{a}:{b}"]
            centre[f"corr_{by}"] = pairs
    certain = fabricated(design, centre=centre, spread=1e-9, chains=2, draws=100)
    results = hypotheses.test(certain, groups="new", allow_unconverged=True)
    stated = design.spec.hypotheses
    none = {n: max(h.rope if world == "null" else 0.0, _NONE) for n, h in stated.items()}
    return {name: _holds(r, stated[name], none[name]) for name, r in results.items()}


def _holds(result: hypotheses.HypothesisResult, stated: Hypothesis, none: float) -> bool:
    """Whether the estimands have the signs of the statement, on average over origins."""
    means = result.draws.mean(("chain", "draw")).to_numpy()
    signs = {
        ">": lambda x: x > none,
        "<": lambda x: x < -none,
        "!=": lambda x: abs(x) > stated.rope,
    }
    return all(signs[part.sign](x) for part, x in zip(stated.inequalities, means, strict=True))


# ------------------------------------------------------------------------ replications


def replicate(theory: str, world: str, seed: int, persons: int = PERSONS) -> dict[str, Any]:
    """Simulate, fit and ask: what the theory says of its claims, and what is covered."""
    begun = time.perf_counter()
    setting = SETTINGS.get(theory, "albania")
    effects, unit = effects_of(theory, world), unit_of(theory)
    survey, truth = survey_of(effects, persons, seed, setting, unit)
    spec = load_model(theory)
    design = build_design(spec, survey)
    posterior = fit(spec, survey, seed=seed, progress=False)
    asked = hypotheses.test(thinned(posterior), allow_unconverged=True)
    holds = at_the_truth(design, truth, world)
    inside = covered(posterior, with_effects_of_everyone(design, truth))
    return {
        "theory": theory,
        "world": world,
        "seed": seed,
        "persons": simulated(persons, unit),
        "route": posterior.provenance.route,
        "problems": posterior.problems(),
        "covered": int(sum(inside)),
        "coefficients": len(inside),
        "shares": np.bincount(design.choice, minlength=len(design.alternatives)).tolist(),
        "claims": {
            name: {
                "probability": r.probability,
                "holds": holds[name],
                "identification": r.identification,
            }
            for name, r in asked.items()
        },
        "seconds": round(time.perf_counter() - begun, 2),
    }


def thinned(posterior: Posterior) -> Posterior:
    """Every fourth draw: enough for a probability, and claims are asked in a third of the time."""
    groups = {name: node.to_dataset() for name, node in posterior.data.children.items()}
    found = {
        name: group.isel(draw=slice(None, None, 4)) if "draw" in group.dims else group
        for name, group in groups.items()
    }
    return replace(posterior, data=xr.DataTree.from_dict(found))


def covered(posterior: Posterior, true: Mapping[str, np.ndarray]) -> list[bool]:
    """Whether central 90 % intervals hold the truth, one for every coefficient."""
    found = []
    for name, values in true.items():
        draws = posterior.draws[name].transpose("chain", "draw", ...).to_numpy()
        draws = draws.reshape(-1, *draws.shape[2:])
        low, high = np.quantile(draws, [0.05, 0.95], axis=0)
        found += ((low <= values) & (values <= high)).ravel().tolist()
    return found


def contest(theory: str, seed: int, persons: int) -> dict[str, Any]:
    """Fit all rivals in a world in which one is true, and compare them."""
    effects = declared(effects_of(theory, "true"), RIVALS)
    survey, _ = survey_of(effects, persons, seed)
    fits = {name: fit(claimless(name), survey, seed=seed, progress=False) for name in RIVALS}
    result = compare(fits, allow_unconverged=True)
    table = result.summary
    return {
        "contest": theory,
        "seed": seed,
        "persons": persons,
        "best": str(table["theory"].iloc[0]),
        "gap": float(-table["elpd_diff"].iloc[1]),
        "error": float(table["diff_se"].iloc[1]),
        "behind": float(-table.set_index("theory")["elpd_diff"][theory]),
        "separated": "cannot separate" not in result.text and "not known" not in result.text,
    }


def claimless(name: str) -> ModelSpec:
    """A theory without hypotheses, which are not asked here."""
    return load_model(name).replace(hypotheses={})


# ------------------------------------------------------------------------------- tables


def table(results: list[dict[str, Any]]) -> str:
    """The tables of docs/recovery.md."""
    runs = [r for r in results if "theory" in r]
    check_rule(runs)
    return "\n\n".join([by_theory(runs), by_claim(runs), by_contest(results)])


def check_rule(runs: list[dict[str, Any]]) -> None:
    """Refuse results that do not say what the prior does for a claim: support is of one rule.

    Raises
    ------
    ValueError
        Which names the run and the claim.
    """
    for run in runs:
        for name, of in run["claims"].items():
            if not isinstance(of, dict) or "identification" not in of:
                raise ValueError(
                    f"{run['theory']}, world {run['world']}, seed {run['seed']}: the claim {name} "
                    "has no field identification; take the line out and run it again"
                )


def with_table(page: str, results: list[dict[str, Any]]) -> str:
    """A page with the tables, and what they add up to, between their marks."""
    for begin, end, text in ((BEGIN, END, table(results)), (FOUND, END_FOUND, counts(results))):
        before, rest = page.split(begin)
        page = f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}"
    return page


def answers(results: list[dict[str, Any]]) -> pd.DataFrame:
    """Every answer: ``claim``, ``world``, whether it ``holds``, is ``supported``, who says it."""
    return pd.DataFrame(
        [
            {
                "claim": name,
                "world": run["world"],
                "holds": of["holds"],
                "supported": supported(of),
                "identification": of["identification"],
            }
            for run in results
            if "theory" in run
            for name, of in run["claims"].items()
        ]
    )


def coverage(results: list[dict[str, Any]]) -> float:
    """Of all 90 % intervals of coefficients, the share that holds the true value."""
    inside, all_ = (
        sum(r[k] for r in results if "theory" in r) for k in ("covered", "coefficients")
    )
    return float(inside / all_)


def counts(results: list[dict[str, Any]]) -> str:
    """What the tables add up to, in sentences."""
    found = answers(results)
    named = [r["theory"] for r in results if "theory" in r]
    untrue = {w: found[(found["world"] == w) & ~found["holds"]] for w in WORLDS}
    true = found[(found["world"] == "true") & found["holds"]]

    def alarms(of: pd.DataFrame) -> str:
        claims_ = dict.fromkeys(of.loc[of["supported"], "claim"])
        which = f" ({', '.join(f'`{c}`' for c in claims_)})" if claims_ else ""
        return f"{of['supported'].sum():,} of {len(of):,} untrue claims were supported{which}"

    weak, leaning = ((found["identification"] == word).sum() for word in (WEAK, LEANS))
    sentences = [
        f"{len(named):,} surveys, of {len(set(named))} theories; 90 % intervals held "
        f"{100 * coverage(results):.0f} % of true coefficients.",
        f"In reversed worlds, {alarms(untrue['false'])}.",
        f"In null worlds, {alarms(untrue['null'])}; of signs of what is zero, one in twenty would "
        "be expected.",
        f"Of the claims that hold in the true worlds, {true['supported'].sum():,} of {len(true):,} "
        "were supported.",
        f"Of all {len(found):,} answers, {weak:,} were weakly identified, and in {leaning:,} the "
        "prior had a say.",
    ]
    return "\n".join(f"- {sentence}" for sentence in sentences)


def by_theory(runs: list[dict[str, Any]]) -> str:
    """Coverage and rates of support, one row per theory and world."""
    rows = [
        "| theory | world | surveys | 90 % intervals that cover | true claims supported "
        "| untrue claims supported |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for theory in dict.fromkeys(r["theory"] for r in runs):
        for world in WORLDS:
            some = [r for r in runs if (r["theory"], r["world"]) == (theory, world)]
            if some:
                rows.append(_row(theory, world, some))
    rows.append(_row("all", "", runs))
    return "\n".join(rows)


def _row(theory: str, world: str, runs: list[dict[str, Any]]) -> str:
    inside, all_ = (sum(r[k] for r in runs) for k in ("covered", "coefficients"))
    found = [(supported(of), of["holds"]) for r in runs for of in r["claims"].values()]
    return (
        f"| {theory} | {world} | {len(runs)} | {100 * inside / all_:.0f} % of {all_:,} "
        f"| {_rate(s for s, holds in found if holds)} "
        f"| {_rate(s for s, holds in found if not holds)} |"
    )


def supported(claim: Mapping[str, Any]) -> bool:
    """Whether a claim is supported, as one that the prior says is not."""
    likely = claim["probability"] >= hypotheses.SUPPORTED
    return bool(likely and claim["identification"] != WEAK)


def _rate(which: Iterable[bool]) -> str:
    found = list(which)
    return f"{sum(found)} of {len(found)}" if found else "–"


def by_claim(runs: list[dict[str, Any]]) -> str:
    """Median Pr(H) of every claim in all worlds, and how often it is supported."""
    heads = "".join(f" Pr(H), world {world} | supported |" for world in WORLDS)
    rows = [f"| theory | claim |{heads}", "|---|---|" + "---:|---:|" * len(WORLDS)]
    for theory in dict.fromkeys(r["theory"] for r in runs):
        of = {w: [r for r in runs if (r["theory"], r["world"]) == (theory, w)] for w in WORLDS}
        for claim in next(run for w in WORLDS for run in of[w])["claims"]:
            cells = [_cell([r["claims"][claim] for r in of[w]]) for w in WORLDS]
            rows.append(f"| {theory} | {claim} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _cell(claims_: list[dict[str, Any]]) -> str:
    """Median and range; whether the claim holds in that world; how often it is supported."""
    if not claims_:
        return "– | –"
    p = np.array([of["probability"] for of in claims_])
    share = np.mean([of["holds"] for of in claims_])
    mark = {1.0: "holds", 0.0: "does not"}.get(float(share), f"holds in {100 * share:.0f} %")
    median, low, high = np.median(p), p.min(), p.max()
    return f"{median:.2f} ({low:.2f}–{high:.2f}), {mark} | {_rate(map(supported, claims_))}"


def by_contest(results: list[dict[str, Any]]) -> str:
    """How often the true theory predicts best, and how often the verdict separates it."""
    rows = [
        "| true theory | persons | surveys | best by elpd | ahead of the next (median) "
        "| verdict: cannot separate |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    contests = [r for r in results if "contest" in r]
    for persons in sorted({r["persons"] for r in contests}, reverse=True):
        for theory in (*RIVALS, "all"):
            some = [
                r for r in contests if r["persons"] == persons and theory in (r["contest"], "all")
            ]
            if not some:
                continue
            won = [r for r in some if r["best"] == r["contest"]]
            ahead = f"{np.median([r['gap'] for r in won]):.1f}" if won else "–"
            unsure = sum(not r["separated"] for r in some)
            rows.append(
                f"| {theory} | {persons:,} | {len(some)} | {len(won)} of {len(some)} | {ahead} "
                f"| {unsure} of {len(some)} |"
            )
    return "\n".join(rows)


# --------------------------------------------------------------------------------- run


def work(done: list[dict[str, Any]], replications: int, what: str) -> Iterable[tuple[Any, ...]]:
    """What is to be done yet, one replication of everything before the next."""
    have = {(r.get("theory"), r.get("world"), r["seed"]) for r in done if "theory" in r}
    met = {(r["contest"], r["seed"], r["persons"]) for r in done if "contest" in r}
    for seed in range(replications):
        for theory in theories():
            if seed >= replications // 2 and is_slow(theory):
                continue
            for world in WORLDS:
                if what != "contests" and (theory, world, seed) not in have:
                    yield replicate, theory, world, seed
    for persons, times in COMPARED.items():
        for seed in range(times):
            for theory in RIVALS:
                if what != "claims" and (theory, seed, persons) not in met:
                    yield contest, theory, seed, persons


def is_slow(theory: str) -> bool:
    """Whether chains are run for slopes or consideration: half as many surveys are."""
    spec = load_model(theory)
    return spec.consideration is not None or any(group.formula.terms for group in spec.groups)


def main() -> None:
    """Do what is not done yet, for so many seconds, or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--replications", type=int, default=REPLICATIONS)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so many")
    parser.add_argument("--what", choices=("all", "claims", "contests"), default="all")
    parser.add_argument("--into", type=Path, help="write the tables into this page and stop")
    given = parser.parse_args()
    results = given.results
    lines = results.read_text().splitlines() if results.exists() else []
    done = [json.loads(line) for line in lines]
    if given.into:
        page = given.into.read_text(encoding="utf-8")
        given.into.write_text(with_table(page, done), encoding="utf-8")
        return
    begun = time.monotonic()
    for job, *arguments in work(done, given.replications, given.what):
        if time.monotonic() - begun > given.seconds:
            break
        with results.open("a") as file:
            file.write(json.dumps(job(*arguments)) + "\n")


if __name__ == "__main__":
    main()
