"""The kernel in a graph: the plain graph's density, in Python, numba and JAX."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import jax
import numpy as np
import nutpie
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.compile.mode import Mode
from pytensor.gradient import NullTypeGradError, verify_grad

from bayesmig.design.design import Design, build_design
from bayesmig.errors import InferenceError
from bayesmig.inference import routes
from bayesmig.inference.blocks import Precision, rows_of
from bayesmig.inference.density import Gate, Near, nearest_logit
from bayesmig.inference.graph import build_graph, to_pymc
from bayesmig.inference.layout import parameter_dims
from bayesmig.inference.op import ChoiceLogLikelihood, _for_jax
from bayesmig.inference.routes import fit, plan_fit
from tests.fabricate import small_survey, theory
from tests.inference.theories import THEORIES, design_of, wide_survey
from tests.quick import some_quick

pytestmark = pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
#: Without rewrites it takes milliseconds to build.
PYTHON = Mode(linker="py", optimizer=None)


def op_of(name: str, precision: Precision = "double") -> ChoiceLogLikelihood:
    return ChoiceLogLikelihood(rows_of(design_of(name), precision))


def values_for(op: ChoiceLogLikelihood, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in op.rows.inputs.values()]


def variables_for(op: ChoiceLogLikelihood) -> list[Any]:
    return [pt.tensor(dtype="float64", shape=shape) for shape in op.rows.inputs.values()]


def value_and_gradient(op: ChoiceLogLikelihood, mode: Any) -> Any:
    """Compiled, of an operation."""
    x = variables_for(op)
    value = op(*x)[0]
    return pytensor.function(x, [value, *pt.grad(value, x)], mode=mode)


def density(model: pm.Model) -> Any:
    """Log density and gradient of a model, by name of its variables."""
    value = model.logp()
    slopes = pt.grad(value, model.value_vars)
    found = pytensor.function(model.value_vars, [value, *slopes], mode=PYTHON)
    return lambda point: found(*(point[v.name] for v in model.value_vars))


def points(model: pm.Model, count: int = 3) -> Iterator[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    for k in range(count):
        yield {
            name: value + rng.normal(0.0, 0.3 + 0.3 * k, np.shape(value))
            for name, value in model.initial_point(0).items()
        }


def dims_of(model: pm.Model, variable: Any) -> tuple[str, ...]:
    return model.named_vars_to_dims[variable.name]


def gap(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """Largest difference, of values and of slopes, to the largest of them."""
    slopes, others = (np.concatenate([np.ravel(s) for s in of[1:]]) for of in (found, wanted))
    of_value = abs(float(found[0]) - float(wanted[0])) / abs(float(wanted[0]))
    return max(of_value, float(np.abs(slopes - others).max() / np.abs(others).max()))


# ---------------------------------------------------------------------- the plain graph


@pytest.mark.parametrize("name", some_quick(THEORIES, {"no_groups", "everything", "crossed"}))
def test_a_model_with_it_has_the_density_and_gradient_of_the_plain_model(name: str) -> None:
    design = design_of(name)
    model = build_graph(design)
    plain = density(model)
    double, single = (density(build_graph(design, "kernel", p)) for p in ("double", "single"))
    for point in points(model):
        wanted = plain(point)
        assert gap(double(point), wanted) < 1e-9
        # Two more digits than a number of single precision has, since sums are double.
        assert 1e-12 < gap(single(point), wanted) < 1e-5


def test_the_comparison_sees_one_choice_changed() -> None:
    design = design_of("one_correlation")
    other = replace(design, choice=np.where(np.arange(design.n_obs) == 7, 2, design.choice))
    assert design.choice[7] != 2
    model = build_graph(design)
    plain, wrong = density(model), density(build_graph(other, "kernel"))
    assert all(gap(wrong(point), plain(point)) > 1e-3 for point in points(model))


def test_rows_that_are_alike_are_counted() -> None:
    design = build_design(theory("female + urban"), wide_survey())
    rows = rows_of(design, "double")
    assert len(rows.columns.persons) < 0.7 * design.n_obs
    model = build_graph(design)
    plain, kernel = density(model), density(build_graph(design, "kernel"))
    assert all(gap(kernel(point), plain(point)) < 1e-9 for point in points(model))


@pytest.mark.parametrize("name", ["no_groups", "a_prior_each", "everything"])
def test_names_and_dims_are_those_of_the_plain_model(name: str) -> None:
    plain, kernel = (build_graph(design_of(name), of) for of in ("plain", "kernel"))
    assert list(kernel.named_vars) == list(plain.named_vars)
    assert kernel.named_vars_to_dims == plain.named_vars_to_dims
    assert {k: list(v) for k, v in kernel.coords.items()} == {
        k: list(v) for k, v in plain.coords.items()
    }
    assert [v.name for v in kernel.observed_RVs] == ["choice"]
    assert not kernel.potentials


def test_other_choices_than_those_observed_have_their_own_likelihood() -> None:
    design = design_of("one_correlation")
    other = np.roll(design.choice, 1)
    sums = []
    for likelihood in ("plain", "kernel"):
        model = build_graph(design, likelihood)
        values = pm.logp(model["choice"], other).sum()
        given = [model["beta"], model["u_origin"]]
        rng = np.random.default_rng(0)
        at = [rng.normal(size=[len(model.coords[d]) for d in dims_of(model, v)]) for v in given]
        found = pytensor.function(given, values, mode=PYTHON, on_unused_input="ignore")
        sums.append(float(found(*at)))
    assert sums[0] == pytest.approx(sums[1], rel=1e-12)


def test_choices_are_drawn_from_it() -> None:
    design = design_of("availability")
    model = build_graph(design, "kernel")
    drawn = pm.draw(model["choice"], draws=30, random_seed=1, mode=PYTHON)
    assert drawn.shape == (30, design.n_obs)
    assert set(np.unique(drawn)) == {0, 1, 2}
    assert design.columns.available[np.arange(design.n_obs), drawn].all()


# --------------------------------------------------------------------------- gradients


def test_its_gradient_is_that_of_its_values() -> None:
    op = op_of("everything")
    verify_grad(
        lambda *x: op(*x)[0],
        values_for(op),
        rng=np.random.default_rng(0),
        eps=1e-7,
        abs_tol=1e-5,
        rel_tol=1e-5,
        mode=PYTHON,
    )


def test_a_value_and_its_gradient_are_one_pass_over_the_rows() -> None:
    model = build_graph(design_of("everything"), "kernel")
    value = model.logp()
    outputs = [value, *pt.grad(value, model.value_vars)]
    found = pytensor.function(model.value_vars, outputs, mode="FAST_COMPILE")
    nodes = found.maker.fgraph.apply_nodes
    assert sum(isinstance(node.op, ChoiceLogLikelihood) for node in nodes) == 1


def test_second_derivatives_are_refused() -> None:
    op = op_of("everything")
    x = variables_for(op)
    slope = pt.grad(op(*x)[0], x[0])
    with pytest.raises(NullTypeGradError, match="first derivatives only"):
        pt.grad(slope.sum(), x[0])
    with pytest.raises(NullTypeGradError, match="first derivatives only"):
        pt.grad(op(*x)[2].sum(), x[0])


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_other_shapes_are_refused(wrong: int) -> None:
    op = op_of("everything")
    x = variables_for(op)
    name = ("beta", "gamma", "effects")[wrong]
    for other in (pt.zeros((3,) * (2 + wrong)), pt.zeros((99,) * x[wrong].ndim)):
        given = [other if k == wrong else v for k, v in enumerate(x)]
        with pytest.raises(TypeError, match=name):
            op(*given)
    # Where a shape is not known before, it is seen at the time.
    loose = [v.type.clone(shape=(None,) * v.ndim)() for v in x]
    found = pytensor.function(loose, op(*loose)[0], mode=PYTHON)
    values = values_for(op)
    assert np.isfinite(found(*values))
    values[wrong] = values[wrong][:-1]
    with pytest.raises(AssertionError, match="SpecifyShape"):
        found(*values)


# --------------------------------------------------------------------------- compilers


@pytest.mark.parametrize("precision", ["double", "single"])
@pytest.mark.parametrize("mode", ["NUMBA", "JAX"])
def test_compiled_it_gives_what_it_gives_in_python(
    mode: str, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    op = op_of("everything", precision)
    is_the_same_compiled(op, values_for(op), mode, monkeypatch)


def is_the_same_compiled(
    op: ChoiceLogLikelihood, values: list[np.ndarray], mode: str, patch: pytest.MonkeyPatch
) -> None:
    """Assert that value and slopes are those of Python, to the last bit."""
    wanted = value_and_gradient(op, PYTHON)(*values)

    def not_from_python(*_: Any) -> None:
        raise AssertionError("compiled code went back to Python")

    patch.setattr(ChoiceLogLikelihood, "perform", not_from_python)
    found = value_and_gradient(op, mode)(*values)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.asarray(one).dtype == np.float64


def test_layouts_of_memory_do_not_matter() -> None:
    op = op_of("everything")
    beta, gamma, effects = values_for(op)
    found = value_and_gradient(op, "NUMBA")
    wanted = found(beta, gamma, effects)
    other = found(np.asfortranarray(beta), np.repeat(gamma, 2)[::2], np.repeat(effects, 3)[::3])
    for one, two in zip(wanted, other, strict=True):
        np.testing.assert_array_equal(one, two)


def test_jax_differentiates_it_by_itself() -> None:
    op = op_of("everything")
    values = values_for(op)
    likelihood = _for_jax(op, op(*variables_for(op))[0].owner)
    wanted = value_and_gradient(op, PYTHON)(*values)

    def value(*given: Any) -> Any:
        return 3.0 * likelihood(*given)[0]

    for of in (jax.value_and_grad(value, (0, 1, 2)), jax.jit(jax.value_and_grad(value, (0, 1, 2)))):
        found, slopes = of(*values)
        for one, other in zip([found, *slopes], wanted, strict=True):
            np.testing.assert_allclose(one, 3.0 * other, rtol=1e-14)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        jax.grad(lambda *given: likelihood(*given)[1].sum())(*values)
    with pytest.raises(ValueError, match="do not support JVP"):
        jax.hessian(value)(*values)


def test_it_can_be_sent_to_another_process() -> None:
    op = op_of("everything")
    values = values_for(op)
    sent = cloudpickle.loads(cloudpickle.dumps(op))
    for one, other in zip(sent.evaluate(*values), op.evaluate(*values), strict=True):
        np.testing.assert_array_equal(one, other)


def test_jax_need_not_be_there() -> None:
    code = (
        'import sys; sys.modules["jax"] = None\n'
        "from bayesmig.inference.blocks import rows_of\n"
        "from bayesmig.inference.op import ChoiceLogLikelihood\n"
        "from tests.inference.theories import design_of\n"
        'op = ChoiceLogLikelihood(rows_of(design_of("no_groups"), "double"))\n'
        "print(float(op.evaluate(*(0.0 * of for of in op.rows.chosen))[0]))\n"
    )
    assert float(run(code)) == pytest.approx(-design_of("no_groups").n_obs * np.log(3))


# ---------------------------------------------------------------------------- sampling


SURVEY, THEORY = small_survey(90, origins=4), theory("female")
TINY: dict[str, Any] = {
    "seed": 3, "chains": 2, "draws": 15, "tune": 25, "progress": False
}  # fmt: skip


@pytest.fixture(scope="module")
def design() -> Design:
    return build_design(THEORY, SURVEY)


@pytest.mark.parametrize(
    ("method", "route", "precision"),
    [
        ("graph", "NUTS (nutpie) on the PyMC model with the kernel", "single"),
        pytest.param(
            "plain", "NUTS (nutpie) on the plain PyMC model", "double", marks=pytest.mark.slow
        ),
    ],
)
def test_chains_run_on_the_model(
    method: Any, route: str, precision: Any, design: Design, tmp_path: Path
) -> None:
    posterior = fit(THEORY, SURVEY, method=method, precision=precision, keep=tmp_path, **TINY)
    assert posterior.provenance.route == route
    assert posterior.provenance.precision == precision
    assert {"pymc", "pytensor"} <= set(posterior.provenance.versions)
    for name, dims in parameter_dims(design).items():
        assert posterior.draws[name].dims == ("chain", "draw", *dims)
        assert np.isfinite(posterior.draws[name]).all()
    assert len(list(tmp_path.iterdir())) == 2


def from_feasibility(gate: Gate, kappa: np.ndarray) -> np.ndarray:
    """What being feasible adds to coefficients of a logit that does not know of it."""
    able = 1 / (1 + np.exp(-gate.mean @ kappa[gate.terms]))
    return np.log(able) * gate.one + (1 - able) * gate.along @ kappa[gate.terms]


def changes_no_density(design: Design) -> None:
    """Graphs in coordinates of the nearest logit and of the theory differ by one constant."""
    near = nearest_logit(design)
    assert near is not None
    plain, white = build_graph(design), build_graph(design, "kernel", near=near)
    natural, other = density(plain), density(white)
    names = [b for b in ("beta", "beta_only", "gamma") if b in parameter_dims(design)]
    names += ["feasibility"] if near.gates else []
    blocks = plain.replace_rvs_by_values([plain[name] for name in names])
    values = pytensor.function(plain.value_vars, blocks, mode=PYTHON, on_unused_input="ignore")
    apart = []
    for point in points(plain):
        found = values(*(point[v.name] for v in plain.value_vars))
        named = dict(zip(names, found, strict=True))
        kappa = named.pop("feasibility", np.zeros(0))
        theta = np.concatenate([np.ravel(v) for v in named.values()])
        for gate in near.gates:
            theta[gate.where] += from_feasibility(gate, kappa)
        at = point | {"white": np.linalg.solve(near.root, theta - near.centre)}
        value, *slopes = other(at)
        assert all(np.isfinite(slope).all() for slope in slopes)
        apart.append(float(value) - float(natural(point)[0]))
    np.testing.assert_allclose(apart, apart[0], rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["flat", "a_prior_each", "everything", "one_person_groups"])
def test_coordinates_of_the_nearest_logit_change_no_density(name: str) -> None:
    changes_no_density(design_of(name))


def test_coordinates_of_the_nearest_logit_are_white() -> None:
    """Of a logit without groups: curvatures of one at the mode, and none between coordinates."""
    utility = {"persons": "female + age", "alternatives": "cost"}
    design = build_design(theory(utility=utility, groups=[]), wide_survey())
    near = nearest_logit(design)
    assert near is not None
    curvatures = []
    for found in (near, Near(near.centre, np.diag(np.sqrt((near.root**2).sum(axis=1))))):
        slopes = density(build_graph(design, "kernel", near=found))
        n, step = len(near.centre), 1e-3
        ends = [[slopes({"white": s * step * e})[1] for s in (1, -1)] for e in np.eye(n)]
        curvatures.append(np.array([(b - a) / (2 * step) for a, b in ends]))
    white, only_scaled = curvatures
    np.testing.assert_allclose(white, np.eye(len(white)), atol=1e-4)
    # Without correlations, which age, far from zero, has with the constant.
    assert np.abs(only_scaled - np.eye(len(white))).max() > 0.5


def test_coordinates_with_another_prior_would_be_seen() -> None:
    design = design_of("everything")
    near, wider = nearest_logit(design), dict(design.priors)
    wider["persons"] = replace(wider["persons"], scale=wider["persons"].scale * 1.01)
    one, two = (density(build_graph(d, "kernel", near=near))
                for d in (design, replace(design, priors=wider)))  # fmt: skip
    apart = [float(two(p)[0] - one(p)[0]) for p in points(build_graph(design, "kernel", near=near))]
    assert np.ptp(apart) > 1e-4


def test_without_a_mode_coordinates_are_those_of_the_theory(
    monkeypatch: pytest.MonkeyPatch, design: Design
) -> None:
    def fails(*_: Any) -> None:
        raise np.linalg.LinAlgError("not positive definite")

    monkeypatch.setattr("bayesmig.inference.density.expand", fails)
    assert nearest_logit(design) is None


def test_a_graph_needs_no_map(monkeypatch: pytest.MonkeyPatch, design: Design) -> None:
    """Where the expansion cannot be made, its kernel loops in double precision."""

    class Reached(Exception):
        pass

    def fails(*_: Any) -> None:
        raise np.linalg.LinAlgError("Matrix is not positive definite")

    def sampler(_: Design, route: str, precision: str) -> None:
        raise Reached(route, precision)

    monkeypatch.setattr("bayesmig.inference.density.expand", fails)
    monkeypatch.setattr(routes, "graph_sampler", sampler)
    monkeypatch.setattr(routes, "_MANY_ROWS", 10)
    with pytest.raises(Reached) as reached:
        fit(THEORY, SURVEY, method="graph", **TINY)
    assert reached.value.args == ("graph", "double")
    with pytest.raises(InferenceError, match="no curvature"):
        fit(THEORY, SURVEY, method="graph", precision="single", **TINY)


@pytest.mark.slow
def test_draws_of_another_process_are_equal_to_the_last_bit() -> None:
    code = (
        "from tests.inference.test_op import draws_of_a_graph\n"
        "print(draws_of_a_graph().tobytes().hex())\n"
    )
    first, second = (run(code) for _ in range(2))
    assert first == second == draws_of_a_graph().tobytes().hex()


def draws_of_a_graph() -> np.ndarray:
    posterior = fit(THEORY, SURVEY, method="graph", **TINY)
    return posterior.draws["u_origin"].to_numpy()


def run(code: str) -> str:
    """What a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        check=True,
    )
    return done.stdout.strip()


def test_graph_and_plain_are_told_apart(design: Design) -> None:
    options: dict[str, Any] = {
        "precision": "double", "draws": 15, "tune": 25, "target_accept": 0.8
    }  # fmt: skip
    methods = ("graph", "plain", "nuts")
    keys = {plan_fit(design, 3, method=m, **options).key(0) for m in methods}
    assert len(keys) == 3
    options["precision"] = "auto"
    many = replace(design, choice=np.zeros(6_000, dtype=np.int64))
    assert plan_fit(many, 3, method="graph", **options).precision == "auto"
    assert plan_fit(many, 3, method="plain", **options).precision == "double"


def test_single_precision_of_the_plain_model_is_refused() -> None:
    with pytest.raises(InferenceError, match="plain") as raised:
        fit(THEORY, SURVEY, method="plain", precision="single", **TINY)
    assert raised.value.mend
    with pytest.raises(InferenceError, match="plain") as raised:
        to_pymc(THEORY, SURVEY, precision="single")
    assert raised.value.mend


@pytest.mark.parametrize(
    "option", [{"likelihood": "kernal"}, {"likelihood": "kernel", "precision": "half"}]
)
def test_unknown_options_are_refused(option: Any) -> None:
    with pytest.raises(InferenceError, match="must be one of") as raised:
        to_pymc(THEORY, SURVEY, **option)
    assert raised.value.mend


@pytest.mark.parametrize("gradients", ["pytensor", "jax"])
def test_nutpie_samples_it_under_jax(gradients: Any) -> None:
    model = to_pymc(THEORY, SURVEY, likelihood="kernel")
    compiled = nutpie.compile_pymc_model(model, backend="jax", gradient_backend=gradients)
    found = nutpie.sample(compiled, draws=20, tune=60, chains=1, seed=1, progress_bar=False)
    beta = found["posterior"]["beta"].to_numpy()
    assert np.isfinite(beta).all()
    assert np.ptp(beta, axis=1).min() > 0
