"""Which columns belong together as a matrix: one network per alternative."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from bayesmig.reporting.folder import StudyFolder


@dataclass(frozen=True)
class Family:
    """Columns that are alike but for the alternative that they are about.

    Attributes
    ----------
    prefix
        What their names share.
    kind
        The kind of effects that all of them have, ``slope`` or ``comparison``.
    columns
        Alternative -> column.
    effects
        Rows of the table of effects for these columns and alternatives.
    """

    prefix: str
    kind: str
    columns: Mapping[str, str]
    effects: pd.DataFrame

    def effect(self, outcome: str, network: str) -> pd.DataFrame:
        """The row for one cell of the matrix; empty where there is none."""
        table = self.effects
        chosen = (table["variable"] == self.columns[network]) & (table["alternative"] == outcome)
        return table[chosen]


def families(study: StudyFolder) -> list[Family]:
    """Matrices of effects such as ``network_internal`` and ``network_international``.

    A prefix with a column for at least two alternatives makes one; ``network`` first.
    Slopes are taken where all columns have them.
    """
    found: dict[str, Family] = {}
    for kind in ("slope", "comparison"):
        table = study.table("effects", kind=kind)
        for prefix, columns in _columns(table, study.alternatives).items():
            if len(columns) > 1 and prefix not in found:
                chosen = table["variable"].isin(columns.values()) & table["alternative"].isin(
                    columns
                )
                found[prefix] = Family(prefix, kind, columns, table[chosen])
    return sorted(found.values(), key=lambda family: family.prefix != "network")


def _columns(table: pd.DataFrame, alternatives: list[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for alternative in alternatives:
        for variable in dict.fromkeys(table["variable"].astype(str)):
            prefix = variable.removesuffix(f"_{alternative}")
            if prefix not in (variable, ""):
                found.setdefault(prefix, {})[alternative] = variable
    return found
