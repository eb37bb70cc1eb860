"""Compiled functions called by their machine code, without numba.

Numba takes half a second to load itself and what it kept, about as long as weighted draws of
20,000 rows take. Here the object code of a function, for arguments of some types, is kept in a
file of its own; a process that finds it there links it as numba would, by llvmlite, and calls it by
ctypes, which lets go of the interpreter's lock. Numba is imported where there is no such file, and
calls the function itself where its code cannot be kept: with settings of numba's own, on systems
other than Linux, and for results other than arrays and numbers. Chains and PyTensor's graphs take
code of ours into theirs, and import numba too.

Numba's functions take, and give, what C's can:

    status f(result *, error **, arguments ...)

with a tuple's parts one after the other, and of an array (owner, parent, size, bytes of an
element, address, lengths, strides). Ctypes takes as long for a hundred such arguments as many a
function, so that each has an entry beside it that reads them from a row of words. Functions that
are called so must not print, nor raise errors: what an error says is for numba to read.
"""

from __future__ import annotations

import builtins
import ctypes
import hashlib
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from math import prod
from pathlib import Path
from struct import Struct
from threading import RLock
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np

from bayesmig.inference.compiled import folder_of_code, processor

#: The words of an array before its lengths, and those of them that are its owner and address.
_HEAD, _OWNER, _ADDRESS = 5, 0, 4
_NO_ERROR = (0, -2)
#: What is called, of everything that is kept.
_ENTRY = "entry"
_LOADING = RLock()
#: Code is there as long as what linked it.
_LINKED: list[Any] = []
_INTEGERS = range(-(2**63), 2**63)
_ARRAYS, _PROBE = (np.ndarray, np.memmap), np.zeros(1)
#: What arrays of a type, of so many dimensions and with such flags are called.
_KINDS: dict[tuple[np.dtype[Any], int, int], str] = {}

_Call = Callable[[list[Any]], Any]


class Library:
    """The functions of a module that numba compiles.

    Parameters
    ----------
    module
        Its name. It is imported where something has to be compiled.
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        function = _Function(self._module, name)
        setattr(self, name, function)
        return function


class _Code(NamedTuple):
    """Object code of a function: what it returns and calls, and the code of its entry."""

    returns: str
    needs: list[str]
    binary: bytes
    entry: bytes


class _Function:
    """A compiled function, for arguments of any types."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name
        self._known: dict[str, _Call | None] = {}

    def __call__(self, *args: Any) -> Any:
        kinds: list[str] = []
        words: list[Any] = []
        for arg in args:
            _flatten(arg, kinds, words)
        kind = "".join(kinds)
        if kind not in self._known:
            with _LOADING:
                if kind not in self._known:
                    self._known[kind] = self._loaded(kind, args, words)
        call = self._known[kind]
        return self._by_numba(*args) if call is None else call(words)

    @property
    def _by_numba(self) -> Any:
        return getattr(import_module(self._module), self._name)

    def _loaded(self, kind: str, args: Any, words: list[Any]) -> _Call | None:
        """The function for arguments of a kind; `None` where numba itself has to call it."""
        folder = folder_of_code()
        if folder is None or not _may_be_kept():
            return None
        name = f"{self._module.rpartition('.')[2]}.{self._name}"
        path = folder / f"{name}-{hashlib.sha256(kind.encode()).hexdigest()[:16]}.o"
        code = _read(path)
        if code is None:
            # What numba compiles is right where its inner parts have other names some day.
            with suppress(AttributeError, LookupError, RuntimeError):
                code = _compiled(self._by_numba, args, _letters(words))
            if code is None:
                return None
            _write(path, code)
        return _linked(code, name, words)


def _may_be_kept() -> bool:
    """Whether nothing was asked of numba, on a system whose object files are read here."""
    asked = {k for k in os.environ if k.startswith("NUMBA_")} - {"NUMBA_CACHE_DIR"}
    return sys.platform == "linux" and sys.maxsize > 2**32 and not asked


# ------------------------------------------------------------------------- arguments


def _flatten(value: Any, kinds: list[str], words: list[Any]) -> None:
    """Add the type of an argument, and the words that it is passed as."""
    of = type(value)
    if of in _ARRAYS and value.dtype.kind in "biuf":
        key = value.dtype, value.ndim, value.flags.num
        kinds.append(_KINDS.get(key) or _KINDS.setdefault(key, _kind(value)))
        words += 0, 0, value.size, value.itemsize, _address(value)
        words += value.shape
        words += value.strides
    elif issubclass(of, tuple):
        # Numba tells tuples with names from others, and by their names.
        named = getattr(value, "_fields", None)
        kinds.append("(" if named is None else f"{of.__qualname__}{named}(")
        for part in value:
            _flatten(part, kinds, words)
        kinds.append(")")
    elif value is None:
        kinds.append("none ")
        words.append(0)
    elif of in (bool, np.bool_):
        kinds.append("bool ")
        words.append(int(value))
    elif of in (int, np.int64) and value in _INTEGERS:
        kinds.append("int ")
        words.append(int(value))
    elif of in (float, np.float64):
        kinds.append("float ")
        words.append(float(value))
    else:
        raise TypeError(f"compiled functions take no {of.__name__} such as {value!r:.40}")


def _letters(words: list[Any]) -> str:
    """Words as `struct` writes them."""
    return "".join("d" if isinstance(word, float) else "q" for word in words)


def _kind(array: np.ndarray[Any, Any]) -> str:
    flags = array.flags
    order = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
    how = f"{'' if flags.writeable else 'r'}{'' if flags.aligned else 'u'}"
    return f"{array.dtype.str}{array.ndim}{order}{how} "


def _field(array: np.ndarray[Any, Any]) -> int:
    """Where an array's numbers are, by the first field of NumPy's struct."""
    return ctypes.c_size_t.from_address(id(array) + object.__basicsize__).value


def _asked(array: np.ndarray[Any, Any]) -> int:
    """The same by NumPy's own word, which takes five times as long."""
    return array.ctypes.data


_address = _field if _field(_PROBE) == _asked(_PROBE) else _asked


def _returned(kind: str) -> tuple[int, Callable[[Any], Any]]:
    """How many words a result takes, and what makes it of these."""
    if kind == "none":
        return 1, lambda words: None
    if kind == "float64":
        return 1, lambda words: ctypes.c_double.from_buffer(words).value
    if kind == "int64":
        return 1, lambda words: words[0]
    dtype, ndim = kind.split()
    return _HEAD + 2 * int(ndim), lambda words: _array(words, np.dtype(dtype), int(ndim))


def _array(words: Any, dtype: np.dtype[Any], ndim: int) -> np.ndarray[Any, Any]:
    """A copy of an array that compiled code returned, which is given back where it made it."""
    shape = tuple(words[_HEAD : _HEAD + ndim])
    size = prod(shape) * dtype.itemsize
    memory = (ctypes.c_char * size).from_address(words[_ADDRESS])
    found = np.ndarray(shape, dtype, memory).copy()
    if words[_OWNER]:
        _release()(words[_OWNER])
    return found


@cache
def _release() -> Callable[[int], None]:
    """What lets go of the owner of an array."""
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_helpers()["NRT_MemInfo_release"])


# ------------------------------------------------------------------------ object code


def _compiled(dispatcher: Any, args: Any, letters: str) -> _Code | None:
    """What numba makes of a function for arguments; `None` where it cannot be kept."""
    import numba
    from numba.core.dispatcher import Dispatcher

    if not isinstance(dispatcher, Dispatcher):
        return None
    types = tuple(dispatcher.typeof_pyval(arg) for arg in args)
    dispatcher.compile(types)
    found: Any = dispatcher.overloads[types]
    returns = _name_of(found.signature.return_type)
    if returns is None or not _is_ordinary(found):
        return None
    try:
        binary = _object_of(found)
    except RuntimeError:
        # It came from numba's own files, which keep no object code once it is linked.
        anew: Any = numba.jit(**dispatcher.targetoptions)(dispatcher.py_func)
        anew.compile(types)
        found = anew.overloads[types]
        binary = _object_of(found)
    return _Code(returns, _undefined(binary), binary, _entry(found.fndesc.llvm_func_name, letters))


def _object_of(found: Any) -> bytes:
    _, _, (binary, _) = found.library.serialize_using_object_code()
    return bytes(binary)


def _entry(symbol: str, letters: str) -> bytes:
    """Object code that calls a function with words that lie in a row."""
    kinds = ["double" if letter == "d" else "i64" for letter in letters]
    lines = [f'declare i32 @"{symbol}"({", ".join(["i64", "i64", *kinds])})']
    lines += [f"define i32 @{_ENTRY}(i64 %result, i64 %error, i64 %words) {{"]
    for k, kind in enumerate(kinds):
        lines.append(f"%a{k} = add i64 %words, {8 * k}")
        lines.append(f"%p{k} = inttoptr i64 %a{k} to ptr")
        lines.append(f"%w{k} = load {kind}, ptr %p{k}")
    passed = ["i64 %result", "i64 %error", *(f"{kind} %w{k}" for k, kind in enumerate(kinds))]
    lines += [f'%status = call i32 @"{symbol}"({", ".join(passed)})', "ret i32 %status", "}"]
    return bytes(_machine().emit_object(llvm.parse_assembly("\n".join(lines))))


def _machine() -> llvm.TargetMachine:
    _helpers()
    return llvm.Target.from_default_triple().create_target_machine()


def _is_ordinary(found: Any) -> bool:
    """Whether code is of numba's usual settings, for this processor, and hangs on no object."""
    import numba

    told: Any = numba.config
    usual = (int(told.OPT), told.BOUNDSCHECK, told.DEBUGINFO_DEFAULT, told.USING_SVML)
    host = llvm.get_process_triple(), *processor()
    bound = found.library.has_dynamic_globals or found.lifted or found.reload_init
    same = found.library.codegen.magic_tuple() == host
    return usual == (3, None, 0, False) and same and not bound


def _name_of(kind: Any) -> str | None:
    from numba import types
    from numba.np.numpy_support import as_dtype

    if kind in (types.none, types.float64, types.int64):
        return str(kind)
    if isinstance(kind, types.Array) and kind.layout == "C":
        return f"{as_dtype(kind.dtype).str} {kind.ndim}"
    return None


def _undefined(binary: bytes) -> list[str]:
    """Names that an ELF object calls and does not hold, by its table of symbols."""
    start, size, count = (
        int.from_bytes(binary[at : at + n], "little") for at, n in ((40, 8), (58, 2), (60, 2))
    )
    header = np.dtype(
        [("name", "<u4"), ("type", "<u4"), ("flags", "<u8"), ("address", "<u8"), ("at", "<u8"),
         ("size", "<u8"), ("link", "<u4"), ("info", "<u4"), ("align", "<u8"), ("each", "<u8")]
    )  # fmt: skip
    symbol = np.dtype(
        [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"),
         ("size", "<u8")]
    )  # fmt: skip
    assert size == header.itemsize
    sections = np.frombuffer(binary, header, count, start)
    names = []
    for table in sections[sections["type"] == 2]:
        text = sections[table["link"]]["at"]
        symbols = np.frombuffer(binary, symbol, table["size"] // symbol.itemsize, table["at"])
        for at in text + symbols["name"][symbols["section"] == 0]:
            names.append(binary[at : binary.index(b"\0", at)].decode())
    return sorted(filter(None, names))


def _write(path: Path, code: _Code) -> None:
    """Keep object code; all of it or nothing."""
    said = {"returns": code.returns, "needs": code.needs, "size": len(code.binary)}
    whole = json.dumps(said).encode() + b"\n" + code.binary + code.entry
    beside = path.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        beside.write_bytes(hashlib.sha256(whole).digest() + whole)
        beside.replace(path)


def _read(path: Path) -> _Code | None:
    """Object code that was kept; `None` where there is none, or it is not what was written."""
    try:
        found = path.read_bytes()
    except OSError:
        return None
    digest, whole = found[:32], found[32:]
    if hashlib.sha256(whole).digest() != digest:
        return None
    head, _, code = whole.partition(b"\n")
    said = json.loads(head)
    return _Code(said["returns"], said["needs"], code[: said["size"]], code[said["size"] :])


# --------------------------------------------------------------------------- linking


def _linked(code: _Code, name: str, words: list[Any]) -> _Call | None:
    """A call of object code; `None` where something that it calls is not to be had."""
    # An engine makes the process's own functions known to the linker, and its machine its own.
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    # Where a name is missing, the linker would end the process.
    if not all(llvm.address_of_symbol(needed) for needed in code.needs):
        return None
    for part in (code.binary, code.entry):
        engine.add_object_file(llvm.ObjectFileRef.from_data(part))
    engine.finalize_object()
    _LINKED.append(engine)
    pointers = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p]
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *pointers)(engine.get_function_address(_ENTRY))
    size, make = _returned(code.returns)
    result_of, pack = ctypes.c_int64 * size, Struct(_letters(words)).pack

    def call(words: list[Any]) -> Any:
        result, error = result_of(), ctypes.c_void_p()
        status = function(ctypes.byref(result), ctypes.byref(error), pack(*words))
        if status not in _NO_ERROR:
            raise RuntimeError(f"the compiled function {name} ended with status {status}")
        return make(result)

    return call


@cache
def _helpers() -> dict[str, int]:
    """Addresses of the functions in C that numba's code calls, told to the linker."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    kinds = [of for of in vars(builtins).values() if isinstance(of, type)]
    found = {f"PyExc_{of.__name__}": id(of) for of in kinds if issubclass(of, BaseException)}
    found |= {"_Py_NoneStruct": id(None)}
    found |= {f"numba_{k}": v for k, v in _extension("numba._helperlib").c_helpers.items()}
    for name, address in _extension("numba.core.runtime._nrt_python").c_helpers.items():
        found[name if name.startswith("_") else f"NRT_{name}"] = address
    for name, address in found.items():
        llvm.add_symbol(name, address)
    return found


def _extension(name: str) -> Any:
    """A module of numba's that is written in C, without the package around it."""
    if name in sys.modules:
        return sys.modules[name]
    spec = find_spec("numba")
    assert spec is not None
    [place] = spec.submodule_search_locations or []
    stem = Path(place, *name.split(".")[1:])
    [path] = [p for s in EXTENSION_SUFFIXES if (p := stem.with_name(stem.name + s)).exists()]
    own = spec_from_file_location(name, path)
    assert own is not None and own.loader is not None
    module = module_from_spec(own)
    own.loader.exec_module(module)
    # Numba imports it itself, into its package, where it is needed.
    sys.modules.pop(name, None)
    return module
