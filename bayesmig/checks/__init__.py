"""Can draws be trusted, and does a theory reproduce the data it was fitted to.

`all_checks` asks every check in order. `replicate` draws replicated surveys, `result`
judges what is observed among them; the other modules hold one check each.
"""

from bayesmig.checks.all_checks import check
from bayesmig.checks.prior_shares import check_prior
from bayesmig.checks.result import CheckResult

__all__ = ["CheckResult", "check", "check_prior"]
