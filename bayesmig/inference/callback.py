"""The log density as a C function, which a sampler calls without the interpreter.

Chains are threads. A density that is called through Python holds the interpreter's lock
while its arguments are taken apart, for which the chains then wait; nutpie's models that
are compiled have a C function and the address of its data instead. The data here are the
arguments of `bayesmig.inference.target.log_density`, or of its counterpart in
`bayesmig.inference.integrated`, stored as numba lays them out.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from numba import carray, typeof, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from bayesmig.inference import target
from bayesmig.inference.compiled import njit, pointer

Array = NDArray[np.float64]
_POINTER = ctypes.POINTER(ctypes.c_double)
_NUMBERS = types.CPointer(types.float64)
_DENSITY = types.int64(types.uint64, _NUMBERS, _NUMBERS, _NUMBERS, types.voidptr)
_EXPAND = types.int64(types.uint64, types.uint64, _NUMBERS, _NUMBERS, types.voidptr)

#: Types by their names. Numba's key of what it compiled is the same in every process for a
#: name, and not for a type.
_KINDS: dict[str, Any] = {}


@intrinsic
def _size_of(typingctx, value):
    """Bytes that a value takes."""

    def codegen(context, builder, signature, args):
        size = context.get_abi_sizeof(context.get_value_type(signature.args[0]))
        return context.get_constant(types.int64, size)

    return types.int64(value), codegen


@intrinsic
def _store(typingctx, value, address):
    """Write a value to an address; what it points to must be kept alive."""

    def codegen(context, builder, signature, args):
        kind = context.get_value_type(signature.args[0]).as_pointer()
        builder.store(args[0], builder.inttoptr(args[1], kind))
        return context.get_dummy_value()

    return types.void(value, types.uintp), codegen


@intrinsic(prefer_literal=True)
def _load(typingctx, address, name):
    """The value at an address, of the type of a name."""

    def codegen(context, builder, signature, args):
        stored = context.get_value_type(signature.return_type).as_pointer()
        value = builder.load(builder.bitcast(args[0], stored))
        return _unowned(context, builder, signature.return_type, value)

    return _KINDS[name.literal_value](types.voidptr, name), codegen


def _unowned(context, builder, kind, value):
    """The same, whose arrays count no references: those of the call that stored it are gone."""
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        for k, part in enumerate(kind):
            inner = _unowned(context, builder, part, builder.extract_value(value, k))
            value = builder.insert_value(value, inner, k)
    return value


@njit()
def _stored_size(value):
    return _size_of(value)


@njit()
def _write(value, address):
    _store(value, address)


class Callback:
    """A log density that takes a vector, as C functions and the address of their data.

    Parameters
    ----------
    size
        Length of the vector.
    arguments
        Those of the density after the gradient.
    which
        ``whole``: `target.log_density`; ``integrated``: `integrated.integrated_log_density`.

    Attributes
    ----------
    density, expand
        C functions as nutpie calls them: the second one copies the vector.
    data
        What their last argument points to.
    """

    def __init__(self, size: int, arguments: Any, which: str = "whole") -> None:
        self._kept, self.size = arguments, size
        self.data: NDArray[np.uint8] = np.empty(_stored_size(arguments), np.uint8)
        _write(arguments, self.data.ctypes.data)
        kind = typeof(arguments)
        _KINDS[str(kind)] = kind
        self.density = (_c_integrated if which == "integrated" else _c_density)(str(kind))
        self.expand = _c_copy()

    def __call__(self, vector: Array) -> tuple[float, Array]:
        """Log density and gradient, as the sampler meets them."""
        vector = np.ascontiguousarray(vector, dtype=np.float64)
        gradient, value = np.empty(self.size), np.empty(1)
        places = [a.ctypes.data_as(_POINTER) for a in (vector, gradient, value)]
        self.density.ctypes(self.size, *places, self.data.ctypes.data)
        return float(value[0]), gradient


# Modules, whose functions are looked up when the code is compiled: a function of numba within a
# closure would be told from itself in every process, and its machine code made anew.


@cache
def _c_density(name: str) -> Any:
    """Log density and gradient of arguments of a type; not zero where it is not finite."""

    @pointer(_DENSITY)
    def density(size, vector, gradient, value, data):
        at, slope = carray(vector, (size,)), carray(gradient, (size,))
        found = target.log_density(at, slope, *_load(data, name))
        value[0] = found
        return 0 if np.isfinite(found) and np.isfinite(slope).all() else 1

    return density


@cache
def _c_integrated(name: str) -> Any:
    """The same, with effects integrated out."""
    # Loaded where it is needed: most densities have no such effects.
    from bayesmig.inference import integrated

    @pointer(_DENSITY)
    def density(size, vector, gradient, value, data):
        at, slope = carray(vector, (size,)), carray(gradient, (size,))
        found = integrated.integrated_log_density(at, slope, *_load(data, name))
        value[0] = found
        return 0 if np.isfinite(found) and np.isfinite(slope).all() else 1

    return density


@cache
def _c_copy() -> Any:
    @pointer(_EXPAND)
    def copy(size, expanded, vector, out, data):
        for k in range(size):
            out[k] = vector[k]
        return 0

    return copy
