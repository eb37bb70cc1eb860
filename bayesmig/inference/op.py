"""The kernel as an operation of PyTensor: a log-likelihood that a graph can hold.

The kernel gives the value and all slopes in one pass over the rows, so the operation gives
all of them, and a gradient takes what the same call found: a log density and its gradient
cost one pass. It runs in Python, compiled by numba as part of a graph, without the
interpreter, and under JAX, which calls it on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numba
import numpy as np
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.gradient import DisconnectedType, grad_not_implemented
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_funcify
from pytensor.tensor.shape import specify_shape

from bayesmig.inference import kernel as compiled
from bayesmig.inference.blocks import Rows
from bayesmig.inference.compiled import pointer

Array = NDArray[np.float64]
#: Compiled functions have no signature that a type checker could read.
kernel: Any = compiled
_FIRST_ONLY = "The kernel has first derivatives only; the plain model has all."


class ChoiceLogLikelihood(Op):
    """Log-likelihood of the choices of a design, and its slopes.

    Inputs are ``beta (coefficient, nonbase)``, ``gamma``, the coefficients of columns of
    one alternative and then of attributes, and ``effects``, those of all group factors,
    each ``(group, nonbase, term)`` in C order. Outputs are the log-likelihood and its
    slopes by the three, of their shapes.

    Beyond a logit that is linear in parameters, three more follow: ``added (place, obs)``, what
    curves and tastes add to the utilities of `bayesmig.choice.utility.added_to`,
    ``lambdas (nest,)``, in the order in which the kernel meets the nests: inner ones first, and
    ``odds (alternative, obs)``, log odds that those of consideration are feasible.

    Parameters
    ----------
    rows
        The rows of a design, from `bayesmig.inference.blocks.rows_of`; their precision is
        that of the loops, inputs and outputs are double.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        #: The outputs from the inputs, as arrays: the same machine code wherever it runs.
        self.evaluate = _evaluator(rows)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.rows,)

    def make_node(self, *inputs: Any) -> Apply[Any]:
        """Cast to double; other shapes are refused, since the kernel would not see them."""
        shapes = self.rows.inputs.items()
        known = [_of_shape(*of, x) for of, x in zip(shapes, inputs, strict=True)]
        return Apply(self, known, [pt.dscalar(), *(x.type() for x in known)])

    def infer_shape(self, node: Any, shapes: Sequence[Any]) -> list[Any]:
        """Slopes have the shapes of the inputs."""
        return [(), *shapes]

    def perform(self, node: Any, inputs: Sequence[Any], outputs: Any) -> None:
        """Run the kernel from Python."""
        for place, found in zip(outputs, self.evaluate(*inputs), strict=True):
            place[0] = found

    def pullback(
        self,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        cotangents: Sequence[Any],
    ) -> list[Variable[Any, Any]]:
        """Slopes of the same call; what depends on slopes has none."""
        of_value, *of_slopes = cotangents
        if not all(isinstance(each.type, DisconnectedType) for each in of_slopes):
            return [grad_not_implemented(self, k, x, _FIRST_ONLY) for k, x in enumerate(inputs)]
        return [of_value * slope for slope in outputs[1:]]


def _of_shape(name: str, shape: tuple[int, ...], given: Any) -> Any:
    x: Any = pt.cast(pt.as_tensor_variable(given), "float64")
    known = zip(x.type.shape, shape, strict=False)
    if x.ndim != len(shape) or any(size not in (None, wanted) for size, wanted in known):
        raise TypeError(f"{name} must be of shape {shape}, got {x.type.shape}")
    return specify_shape(x, shape)


@cache
def _address(signature: Any) -> Any:
    """The kernel for some types, apart from the code that calls it, and on disk."""

    def log_likelihood(data, chosen, b, c, e, g_b, g_c, g_e):  # type: ignore[no-untyped-def]
        return kernel.log_likelihood(data, chosen, b, c, e, g_b, g_c, g_e)

    return pointer(signature)(log_likelihood)


@cache
def _address_beyond(signature: Any) -> Any:
    """As `_address`, with what lies beyond the logit.

    Numba knows neither defaults of an address nor arguments that may be left out: there are two
    of it, and of what calls it.
    """

    def log_likelihood(data, chosen, beyond, b, c, e, u, m, f, g_b, g_c, g_e, g_u, g_m, g_f):  # type: ignore[no-untyped-def]
        return kernel.log_likelihood_beyond(
            data, chosen, beyond, b, c, e, u, m, f, g_b, g_c, g_e, g_u, g_m, g_f
        )

    return pointer(signature)(log_likelihood)


def _evaluator_beyond(rows: Rows) -> Any:
    """As `_evaluator`, with what lies beyond the logit."""
    arrays, chosen = _read_only(rows.blocks.arrays), _read_only(rows.chosen)
    beyond = _read_only(rows.beyond or ())
    type_of: Any = numba.typeof
    slopes = [type_of(np.zeros(shape)) for shape in rows.inputs.values()]
    types = type_of(arrays), type_of(chosen), type_of(beyond), *slopes, *slopes
    likelihood = _address_beyond(numba.float64(*types))

    @numba.njit(nogil=True)
    def evaluate(beta, gamma, effects, added, lambdas, odds):  # type: ignore[no-untyped-def]
        b, c = np.ascontiguousarray(beta), np.ascontiguousarray(gamma)
        e, u = np.ascontiguousarray(effects), np.ascontiguousarray(added)
        m, f = np.ascontiguousarray(lambdas), np.ascontiguousarray(odds)
        of_b, of_c, of_e = np.empty_like(b), np.empty_like(c), np.empty_like(e)
        of_u, of_m, of_f = np.empty_like(u), np.empty_like(m), np.empty_like(f)
        value = likelihood(
            arrays, chosen, beyond, b, c, e, u, m, f, of_b, of_c, of_e, of_u, of_m, of_f
        )
        return np.asarray(value), of_b, of_c, of_e, of_u, of_m, of_f

    return evaluate


def _evaluator(rows: Rows) -> Any:
    """Value and slopes from parameters, for Python and for compiled code."""
    if rows.beyond is not None:
        return _evaluator_beyond(rows)
    # Numba takes what a function holds for constants, which have types of their own.
    arrays, chosen = _read_only(rows.blocks.arrays), _read_only(rows.chosen)
    type_of: Any = numba.typeof
    slopes = [type_of(each) for each in rows.chosen]
    types = type_of(arrays), type_of(chosen), *slopes, *slopes
    likelihood = _address(numba.float64(*types))

    @numba.njit(nogil=True)
    def evaluate(beta, gamma, effects):  # type: ignore[no-untyped-def]
        b, c = np.ascontiguousarray(beta), np.ascontiguousarray(gamma)
        e = np.ascontiguousarray(effects)
        of_b, of_c, of_e = np.empty_like(b), np.empty_like(c), np.empty_like(e)
        value = likelihood(arrays, chosen, b, c, e, of_b, of_c, of_e)
        return np.asarray(value), of_b, of_c, of_e

    return evaluate


def _read_only(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    views = tuple(each.view() for each in arrays)
    for view in views:
        view.flags.writeable = False
    return views


@numba_funcify.register(ChoiceLogLikelihood)
def _for_numba(op: ChoiceLogLikelihood, **_: Any) -> Any:
    return op.evaluate


def _for_jax(op: ChoiceLogLikelihood, node: Any, **_: Any) -> Callable[..., Any]:
    """One call of the host; its slopes serve JAX's own differentiation too."""
    import jax

    struct: Any = jax.ShapeDtypeStruct
    shapes = tuple(struct(of.type.shape, of.type.dtype) for of in node.outputs)

    def host(*given: Any) -> Any:
        return op.evaluate(*map(np.array, given))

    def run(*given: Any) -> Any:
        return jax.pure_callback(host, shapes, *given, vmap_method="sequential")

    def forward(*given: Any) -> Any:
        found = run(*(each.value for each in given))
        return found, found[1:]

    def backward(slopes: Any, cotangents: Any) -> Any:
        of_value, *of_slopes = cotangents
        if not all(isinstance(each, jax.custom_derivatives.SymbolicZero) for each in of_slopes):
            raise NotImplementedError(_FIRST_ONLY)
        return tuple(of_value * slope for slope in slopes)

    evaluate = jax.custom_vjp(run)
    evaluate.defvjp(forward, backward, symbolic_zeros=True)
    return evaluate


if find_spec("jax") is not None:
    from pytensor.link.jax.dispatch.basic import jax_funcify

    jax_funcify.register(ChoiceLogLikelihood)(_for_jax)
