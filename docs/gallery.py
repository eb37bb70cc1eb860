"""Make docs/gallery/*.png: the figure of every check and comparison, of a simulated survey.

    .venv/bin/python docs/gallery.py

The theory leaves out networks, which the simulated people have, so that some checks fail.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

import bayesmig as bm
from bayesmig import plots
from bayesmig.plots import Figure

HERE = Path(__file__).parent / "gallery"
THEORY, SEED = "selectivity", 4
COMPARED = ("selectivity", "networks", "step_migration")
EVIDENCE = "beta[urban, international]"


def figures(folder: Path) -> dict[str, Figure]:
    """Name -> figure."""
    made = bm.simulate(folder / "survey", persons=3000, periods=2, seed=SEED)
    survey, theory = bm.read_survey(made.codebook), bm.load_model(THEORY)
    posterior = bm.fit(theory, survey, seed=SEED, method="preview", progress=False)
    results = bm.check(posterior, allow_unconverged=True)
    of = {str(r.table.attrs["table"]): r.table for r in results if len(r.table)}
    prior = of["prior_group_shares"]
    crossed = of["crossed_shares"]
    rehearsal = bm.rehearse(theory, survey, seed=SEED, worlds=20, draws=400, progress=False)
    ranks = bm.calibrate(
        theory, survey, seed=SEED, worlds=60, method="preview", draws=640, thin=10, progress=False
    )
    theories = {name: bm.load_model(name) for name in COMPARED}
    fits = {k: bm.fit(t, survey, seed=SEED, progress=False) for k, t in theories.items()}
    parameters = pd.concat([f.summary(effects=True).assign(theory=k) for k, f in fits.items()])
    worst_of = parameters.groupby("theory", sort=False).agg(
        r_hat_max=("r_hat", "max"),
        ess_bulk_min=("ess_bulk", "min"),
        ess_tail_min=("ess_tail", "min"),
    )
    shares = of["predictive_shares"].assign(theory=THEORY)
    worst = shares.groupby("by")["p_adjusted"].min().drop("all").nsmallest(3).index
    return {
        "prior": plots.shares_plot(
            prior[prior["by"].isin(["female", "education"])]
            .rename(columns={"mean": "predicted"})
            .assign(theory=THEORY),
            title="Shares that the priors allow, by group",
            interval="central 99 % of prior predictions",
        ),
        "shares": plots.shares_plot(
            shares[shares["by"].isin(worst)],
            title="Shares by the three columns that are furthest off",
        ),
        "crossed": plots.crossed_plot(crossed[crossed["by"] == plots.failing_pairs(crossed)[0]]),
        "composition": standardised(
            of["composition"], "column", "Means of columns among those who chose each alternative"
        ),
        "dispersion": standardised(
            of["origin_dispersion"], "statistic", "Spread of the shares of origins, and its shape"
        ),
        "spatial": standardised(
            of["spatial"],
            "statistic",
            "Moran’s coefficient of what the theory leaves over in origins",
        ),
        "households": plots.battery_plot(
            of["household_streams"],
            group=None,
            label="streams",
            alternative=None,
            title="Households with movers of two streams, or two of one",
        ),
        "transitions": plots.battery_plot(
            of["transitions"],
            group=None,
            label="before",
            before="after ",
            alternative="now",
            title="Shares of choices, by the choice of the period before",
        ),
        "clustering": standardised(
            of["clustering"], "by", "Gaps between groups that the theory does not expect"
        ),
        "sensitivity": plots.sensitivity_plot(of["prior_sensitivity"]),
        "calibration": plots.calibration_plot(of["calibration"].assign(theory=THEORY)),
        "reliability": plots.reliability_plot(of["reliability"]),
        "influence": plots.influence_plot(of["influential_origins"]),
        "rehearsal": plots.rehearsal_plot(rehearsal.worlds(), rehearsal.summary),
        "ranks": plots.ecdf_plot(ranks.ecdf),
        "convergence": plots.convergence_plot(worst_of.reset_index(), parameters),
        "comparison": plots.plot(bm.compare(fits)),
        "next_period": plots.plot(bm.compare(fits, question="period")),
        "next_origin": plots.plot(bm.compare(fits, question="origin", folds=5)),
        "evidence": plots.plot(bm.evidence_ratio(fits["networks"], EVIDENCE)),
    }


def standardised(table: pd.DataFrame, label: str, title: str) -> Figure:
    """What a check compares with replicates, in standard deviations of them."""
    return plots.battery_plot(table, group=None, label=label, standardised=True, title=title)


def main() -> None:
    """Write every figure."""
    HERE.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, figure in figures(Path(folder)).items():
            figure.savefig(HERE / f"{name}.png", dpi=96, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
