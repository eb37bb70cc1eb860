"""Which cases of a test are run every time."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest


def some_quick(values: Iterable[str], quick: Collection[str]) -> list[object]:
    """The values of a test's parameter, slow but for some."""
    every = list(values)
    assert set(quick) <= set(every)
    return [v if v in quick else pytest.param(v, marks=pytest.mark.slow) for v in every]
