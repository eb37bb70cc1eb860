"""Bayesian discrete choice models of staying, internal and international migration.

The public names are looked up in `_PUBLIC` and imported when first used, so that
``import bayesmig`` costs little. The modules behind them never share a name with a
verb: an imported submodule becomes an attribute of its package, and would hide it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayesmig import errors
    from bayesmig.checks import check, check_prior
    from bayesmig.explanation.explain import explain
    from bayesmig.explanation.graph import graph
    from bayesmig.hypotheses import test
    from bayesmig.immobility import stayers
    from bayesmig.imputation import Imputed, fit_imputed, read_imputed
    from bayesmig.inference.graph import to_pymc
    from bayesmig.inference.routes import fit
    from bayesmig.model_comparison import compare, evidence_ratio
    from bayesmig.policy.counterfactual import counterfactual
    from bayesmig.posterior import Posterior, load
    from bayesmig.predict import comparisons, log_likelihood, predictions, slopes
    from bayesmig.rehearsal import rehearse
    from bayesmig.sbc import calibrate
    from bayesmig.simulation import draw_sample, simulate
    from bayesmig.spec.library import load_model, load_scenario
    from bayesmig.spec.model import ModelSpec
    from bayesmig.spec.scenario import Scenario
    from bayesmig.study import report, run
    from bayesmig.survey.survey import Survey, read_survey
    from bayesmig.variance_partition import levels

    __version__: str

#: Public name -> "module:attribute", or the module itself.
_PUBLIC = {
    "Imputed": "bayesmig.imputation:Imputed",
    "ModelSpec": "bayesmig.spec.model:ModelSpec",
    "Posterior": "bayesmig.posterior:Posterior",
    "Scenario": "bayesmig.spec.scenario:Scenario",
    "Survey": "bayesmig.survey.survey:Survey",
    "calibrate": "bayesmig.sbc:calibrate",
    "check": "bayesmig.checks:check",
    "check_prior": "bayesmig.checks:check_prior",
    "compare": "bayesmig.model_comparison:compare",
    "comparisons": "bayesmig.predict:comparisons",
    "counterfactual": "bayesmig.policy.counterfactual:counterfactual",
    "draw_sample": "bayesmig.simulation:draw_sample",
    "errors": "bayesmig.errors",
    "evidence_ratio": "bayesmig.model_comparison:evidence_ratio",
    "explain": "bayesmig.explanation.explain:explain",
    "fit": "bayesmig.inference.routes:fit",
    "fit_imputed": "bayesmig.imputation:fit_imputed",
    "graph": "bayesmig.explanation.graph:graph",
    "levels": "bayesmig.variance_partition:levels",
    "load": "bayesmig.posterior:load",
    "load_model": "bayesmig.spec.library:load_model",
    "load_scenario": "bayesmig.spec.library:load_scenario",
    "log_likelihood": "bayesmig.predict:log_likelihood",
    "predictions": "bayesmig.predict:predictions",
    "read_imputed": "bayesmig.imputation:read_imputed",
    "read_survey": "bayesmig.survey.survey:read_survey",
    "rehearse": "bayesmig.rehearsal:rehearse",
    "report": "bayesmig.study:report",
    "run": "bayesmig.study:run",
    "simulate": "bayesmig.simulation:simulate",
    "slopes": "bayesmig.predict:slopes",
    "stayers": "bayesmig.immobility:stayers",
    "test": "bayesmig.hypotheses:test",
    "to_pymc": "bayesmig.inference.graph:to_pymc",
}

__all__ = [
    "Imputed",
    "ModelSpec",
    "Posterior",
    "Scenario",
    "Survey",
    "calibrate",
    "check",
    "check_prior",
    "compare",
    "comparisons",
    "counterfactual",
    "draw_sample",
    "errors",
    "evidence_ratio",
    "explain",
    "fit",
    "fit_imputed",
    "graph",
    "levels",
    "load",
    "load_model",
    "load_scenario",
    "log_likelihood",
    "predictions",
    "read_imputed",
    "read_survey",
    "rehearse",
    "report",
    "run",
    "simulate",
    "slopes",
    "stayers",
    "test",
    "to_pymc",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, and keep it."""
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("bayesmig")
    elif name in _PUBLIC:
        from importlib import import_module

        module, _, attribute = _PUBLIC[name].partition(":")
        value = import_module(module)
        if attribute:
            value = getattr(value, attribute)
    else:
        from bayesmig.errors import nearest

        hint = "" if name.startswith("_") else f"; {nearest(name, __all__)}"
        raise AttributeError(f"module 'bayesmig' has no attribute {name!r}{hint}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
