"""What every shipped theory costs: its route, seconds and effective draws on one survey.

2,000 simulated persons (for theories of costs, of a world with regimes; for those of
households, as many choosing households); ``bayesmig.fit`` as it is called by users, with its
four chains of 1,000 draws. Seconds are those of `fit` from data in memory to diagnosed draws,
compilation of PyMC models included; the machine code of the package is loaded before.

    bench_theories.py [THEORY ...]

Each replaces its own row in the file of results, and ``docs/speed.md`` is written from it.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).resolve().parent
RESULT, PAGE = HERE / "results" / "theories.json", HERE.parent / "docs" / "speed.md"
PERSONS, SEED = 2_000, 3
BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"


def survey_for(spec: Any, surveys: dict[str, Any]) -> Any:
    """The first survey on which a theory can be asked."""
    from bayesmig.design.design import build_design
    from bayesmig.errors import BayesmigError

    faults = []
    for survey in surveys.values():
        try:
            build_design(spec, survey)
        except BayesmigError as fault:
            faults.append(fault)
        else:
            return survey
    raise faults[0]


def simulated(folder: Path) -> dict[str, Any]:
    """Surveys that have the columns of all theories among them."""
    import bayesmig as bm
    from bayesmig.simulation.worlds import COVARIATES

    zeros = {f"utility.internal.{column}": 0.0 for column in COVARIATES}
    asked: dict[str, dict[str, Any]] = {
        "persons": {"effects": zeros},
        "households": {"unit": "household"},
        "regimes": {"world": "regimes"},
        "persons, two rounds": {"effects": zeros, "periods": 2},
        "destinations": {"world": "destinations"},
        "regimes, two rounds": {"world": "regimes", "periods": 2},
    }
    return {
        name: bm.read_survey(
            bm.simulate(
                folder / name.replace(" ", "_"), persons=PERSONS, seed=SEED, **keys
            ).codebook
        )
        for name, keys in asked.items()
    }


def measured(name: str, surveys: dict[str, Any]) -> dict[str, Any]:
    """Fit one theory."""
    import bayesmig as bm

    spec = bm.load_model(name)
    survey = survey_for(spec, surveys)
    started = time.perf_counter()
    posterior = bm.fit(spec, survey, seed=SEED, progress=False)
    seconds = time.perf_counter() - started
    table = posterior.summary(effects=True)
    ess = float(table["ess_bulk"].min())
    numbers = posterior.provenance.numbers
    return {
        "survey": next(k for k, s in surveys.items() if s is survey),
        "rows": posterior.design.n_obs,
        "parameters": len(table),
        "route": posterior.provenance.route,
        "seconds": seconds,
        "ess": ess,
        "ess_per_second": ess / seconds,
        "gradients_per_ess": numbers.get("gradients_per_ess"),
        "problems": posterior.problems(),
    }


def short(route: str) -> str:
    """A route in a table's cell."""
    known = {
        "weighted": "weighted draws",
        "map": "NUTS on the map",
        "with the kernel": "NUTS on the graph, with the kernel",
    }
    said = next((text for part, text in known.items() if part in route), route)
    return said + ", households integrated out" * ("integrated out" in route)


def table(record: dict[str, Any]) -> str:
    """All theories, in Markdown."""
    lines = [
        "| theory | rows | parameters | route | seconds | least ESS | ESS/s | gradients per ESS "
        "| what is wrong with the draws |",
        "|---|--:|--:|---|--:|--:|--:|--:|---|",
    ]
    for name, of in sorted(record["theories"].items()):
        gradients = of["gradients_per_ess"]
        lines.append(
            f"| {name} | {of['rows']:,} | {of['parameters']:,} | {short(of['route'])} "
            f"| {of['seconds']:.1f} | {of['ess']:,.0f} | {of['ess_per_second']:,.0f} "
            f"| {'' if gradients is None else f'{gradients:.0f}'} "
            f"| {'; '.join(of['problems'])} |"
        )
    made = (
        f"Made by `python benchmarks/bench_theories.py` on {record['cores']} cores, "
        f"Python {record['python']}."
    )
    return f"{made}\n\n" + "\n".join(lines)


def publish(record: dict[str, Any]) -> None:
    """Write the file of results and the page."""
    rounded = {
        name: {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in of.items()}
        for name, of in record["theories"].items()
    }
    record["theories"] = rounded
    RESULT.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    text = f"{before}{BEGIN}\n\n{table(record)}\n\n{END}{rest.split(END)[1]}"
    PAGE.write_text(text, encoding="utf-8")


def main() -> None:
    """Fit all theories, or those named."""
    import bayesmig as bm
    from bayesmig.spec.library import model_names

    names = sys.argv[1:] or model_names()
    record = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {"theories": {}}
    record |= {"cores": os.cpu_count(), "python": platform.python_version(), "persons": PERSONS}
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        surveys = simulated(Path(folder))
        # Machine code is loaded, or made where there is none yet.
        bm.fit(
            bm.load_model("baseline"), surveys["persons"], seed=SEED, method="nuts", progress=False
        )
        for name in names:
            of = record["theories"][name] = measured(name, surveys)
            print(
                f"{name:<28} {short(of['route']):<36} {of['seconds']:6.1f} s  "
                f"ESS {of['ess']:6,.0f}  {of['ess_per_second']:7,.1f} ESS/s",
                *of["problems"],
                flush=True,
            )
            publish(record)


if __name__ == "__main__":
    main()
