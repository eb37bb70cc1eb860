"""Numba's decorators, with a cache on disk that knows all the sources that it was made of.

Numba recompiles a function whose own file has changed, and not one whose callee's file
has: after a change of the kernel a density with the old one inside would go on. Here the
folder of the cache is named after all compiled sources and what compiles them.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import RLock
from typing import Any

import llvmlite.binding as llvm

_SETTING = RLock()
_HERE = Path(__file__).resolve().parent
_SOURCES = (
    "compiled.py",
    "machine_code.py",
    "memory.py",
    "kernel.py",
    "target.py",
    "integrated.py",
    "points.py",
    "cells.py",
    "callback.py",
)


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit`, cached, without the interpreter's lock, dividing as NumPy does."""
    import numba

    jit: Any = numba.njit
    # Python's check of every divisor would keep loops from vectorising.
    return _cached(jit, nogil=True, **{"error_model": "numpy", **options})


def pointer(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.cfunc`, cached: an address that samplers and other compiled code call.

    Code that calls a function of `njit` takes it in whole and compiles it again.
    """
    import numba

    c: Any = numba.cfunc
    return _cached(c, signature, nogil=True, error_model="numpy")


def _cached(decorator: Any, *args: Any, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator of numba, with the cache of this module."""

    def decorate(function: Callable[..., Any]) -> Any:
        import numba

        config: Any = numba.config
        folder = folder_of_code()
        # The setting is the process's: two threads would put back each other's.
        with _SETTING:
            before = config.CACHE_DIR
            try:
                config.CACHE_DIR = str(folder or "")
                return decorator(*args, **options, cache=folder is not None)(function)
            finally:
                config.CACHE_DIR = before

    return decorate


def nothing_compiled(source: str = "") -> bool:
    """Whether no machine code of a source, or of any, is on disk yet, as before the first fit."""
    folder = folder_of_code()
    if folder is None:
        return True
    return not any(p.suffix in (".nbc", ".o") for p in folder.rglob(f"{source}*"))


def processor() -> tuple[str, str]:
    """Its name and its features, as machine code is made for it."""
    return str(llvm.get_host_cpu_name()), str(llvm.get_host_cpu_features().flatten())


def folder_of_code() -> Path | None:
    """Where machine code is kept; `None` where nothing can be.

    Beside the package, where that can be written to, or in the user's cache.
    """
    return _folder(os.environ.get("NUMBA_CACHE_DIR", ""))


@cache
def _folder(asked: str) -> Path | None:
    # Code for another processor would stop a process dead.
    made = [str(sys.implementation.cache_tag), *map(version, ("numba", "llvmlite", "numpy"))]
    found = hashlib.sha256(" ".join([*made, *processor()]).encode())
    for name in _SOURCES:
        found.update((_HERE / name).read_bytes())
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bayesmig"
    for place in [Path(asked)] if asked else [_HERE / "__pycache__", user]:
        folder = place / f"compiled-{found.hexdigest()[:16]}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None
