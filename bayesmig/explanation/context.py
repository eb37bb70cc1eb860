"""What describing functions read, and the headings that they write under."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from bayesmig.explanation.facts import Facts
from bayesmig.spec.model import ModelSpec

if TYPE_CHECKING:
    from bayesmig.survey.survey import Survey

CLAIM, CHOICE, UTILITY, GROUPS = "Claim", "Choice", "Utility", "Group effects"
COLUMNS, PRIORS, HYPOTHESES = "Columns", "Priors", "Hypotheses"
IDENTIFIED, AVERAGES = "What identifies it", "Weights and counts"
#: The headings, in the order in which they are read.
SECTIONS = (CLAIM, CHOICE, UTILITY, GROUPS, COLUMNS, PRIORS, HYPOTHESES, IDENTIFIED, AVERAGES)


@dataclass(frozen=True)
class Context:
    """What a describing function reads: the theory, and the survey if there is one."""

    spec: ModelSpec
    survey: Survey | None

    @cached_property
    def facts(self) -> Facts | None:
        """What the survey holds."""
        return None if self.survey is None else Facts(self.survey)

    @property
    def base(self) -> str:
        """The alternative that odds are taken against."""
        return self.spec.choice.base

    @property
    def has_periods(self) -> bool:
        """Whether constants of periods apply, as far as is known."""
        if not self.spec.utility.period_constants:
            return False
        return self.facts is None or self.facts.n_periods > 1

    @property
    def varying(self) -> frozenset[str]:
        """Columns of ``utility.alternatives`` that differ between alternatives."""
        formula = self.spec.utility.alternatives_formula
        if formula is None:
            return frozenset()
        if self.survey is not None:
            found = frozenset(self.survey.attributes) & set(formula.columns)
        else:
            found = frozenset(formula.columns) - set(self.spec.utility.persons_formula.columns)
        return found - set(self.spec.utility.shared_columns)

    @property
    def beside(self) -> frozenset[str]:
        """Columns that stand for that of one alternative where feasibility reads them."""
        known = frozenset() if self.survey is None else frozenset(self.survey.attributes)
        return self.varying | known

    def file_column(self, role: str) -> str:
        """The survey's own column of a role; the name itself where it is no role."""
        roles = {} if self.survey is None else self.survey.roles.declared()
        return roles.get(role, role)
