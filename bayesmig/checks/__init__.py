from bayesmig.checks.all_checks import check
from bayesmig.checks.result import CheckResult

__all__ = ["CheckResult", "check"]
