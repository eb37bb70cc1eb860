"""What a page of the documentation writes into a model file may stand in one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from bayesmig.spec.model import ModelSpec
from bayesmig.tomlfile import validate

CHOICE = {"alternatives": ["stay", "internal", "international"], "base": "stay"}


def test_blocks_beyond_the_logit_are_those_of_a_model_file(repository: Path) -> None:
    page = (repository / "docs" / "beyond-the-logit.md").read_text()
    found = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)]
    assert [next(iter(block)) for block in found] == ["nests", "curves", "consideration"]
    together: dict[str, Any] = {"choice": CHOICE, "priors": {}}
    for block in found:
        together["priors"] |= block.pop("priors", {})
        together |= block
        data = {"choice": CHOICE} | block
        assert validate(ModelSpec, data, file="page").nests is not None
    spec = validate(ModelSpec, together, file="page")
    assert spec.nests and spec.curves and spec.consideration
    # Defaults that the page states.
    defaults = ModelSpec(choice=spec.choice).priors
    assert (defaults.curve_effect.height, defaults.curve_effect.slope) == (2.0, 1.0)
    assert (defaults.half_saturation.alpha, defaults.half_saturation.beta) == (2.0, 2.0)
    assert (defaults.hill_exponent.loc, defaults.hill_exponent.scale) == (0.0, 0.6)
    assert defaults.hump_bend.scale == 0.75
    assert (defaults.lambda_nest.alpha, defaults.lambda_nest.beta) == (1.0, 1.0)
