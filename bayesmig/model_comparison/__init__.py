"""Which theory predicts better what was left out, and what sets theories apart.

`theories` holds `compare`. `left_out` leaves units out of a posterior by importance weights
(`psis`), `integrals` takes the effects of groups out of what it weighs (`quadrature`), and
`refits` fits again without them. `separation` says how far sums of differences can be
trusted, and weighs theories; `verdict` puts it into words. `savage_dickey` is of nested claims.
"""

from bayesmig.model_comparison.savage_dickey import EvidenceRatio, evidence_ratio
from bayesmig.model_comparison.theories import Comparison, check_question, compare

__all__ = ["Comparison", "EvidenceRatio", "check_question", "compare", "evidence_ratio"]
