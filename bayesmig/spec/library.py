"""Finds the packaged model and scenario files by name, and reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bayesmig.errors import SpecError, nearest
from bayesmig.spec.model import FAMILIES, ModelSpec, merge
from bayesmig.spec.references import models_folder as models_folder
from bayesmig.spec.scenario import Scenario
from bayesmig.tomlfile import read_toml, validate

_LONGEST_NAME = 64


def model_names() -> tuple[str, ...]:
    """Names of the packaged models, in alphabetical order."""
    return tuple(sorted(p.stem for p in models_folder().glob("*.toml")))


def models_by_family() -> dict[str, tuple[ModelSpec, ...]]:
    """The packaged models in the order of the field's story: family in words -> models.

    Within a family: constants alone, then by the mechanism that a model names first, the
    smaller before the larger. Models of no family come last.
    """
    specs = sorted(map(load_model, model_names()), key=_place)
    headings = {**FAMILIES, "": "Others"}
    found = {text: tuple(s for s in specs if s.family == key) for key, text in headings.items()}
    return {text: models for text, models in found.items() if models}


def _place(spec: ModelSpec) -> tuple[bool, str, int, int, str]:
    """Where a model stands among those of its family."""
    coefficients = sum(n or 0 for n in spec.expect.model_dump().values())
    varying = sum(len(group.formula.terms) for group in spec.groups)
    first = spec.mechanisms[0] if spec.mechanisms else "M99"
    return coefficients > 1, first, coefficients, varying, spec.name


def scenario_names() -> tuple[str, ...]:
    """Names of the packaged scenarios, in alphabetical order."""
    return tuple(sorted(p.stem for p in (models_folder() / "scenarios").glob("*.toml")))


def load_model(name: str | Path) -> ModelSpec:
    """Read a theory.

    Parameters
    ----------
    name
        Name of a packaged model (``"networks"``), or the path of a model file.

    Returns
    -------
    ModelSpec
        With what it ``extends`` merged in: one file, which extends nothing itself.

    Raises
    ------
    SpecError
        Where there is no such model, or it says something it may not say.
    """
    path = _find(name, models_folder(), "model")
    data = _with_parent(path, read_toml(path, "model"), (path.resolve(),))
    return validate(ModelSpec, {"name": path.stem} | data, file=str(path))


def load_scenario(name: str | Path) -> Scenario:
    """Read a scenario: the name of a packaged one, or the path of a file.

    Raises
    ------
    SpecError
        Where there is no such scenario, or it says something it may not say.
    """
    path = _find(name, models_folder() / "scenarios", "scenario")
    data = read_toml(path, "scenario")
    return validate(Scenario, {"name": path.stem} | data, file=str(path))


def _find(name: str | Path, folder: Path, what: str) -> Path:
    text = str(name)
    if isinstance(name, Path) or text.endswith(".toml") or "/" in text:
        return Path(name)
    known = sorted(p.stem for p in folder.glob("*.toml"))
    if text not in known:
        shown = text if len(text) <= _LONGEST_NAME else text[:_LONGEST_NAME] + "…"
        raise SpecError(
            f"there is no packaged {what} {shown!r}; {nearest(text, known)}",
            where=str(folder),
            mend="name one that bayesmig models lists, or give the path of a .toml file",
        )
    return folder / f"{text}.toml"


def _is_file(path: Path) -> bool:
    """Whether there is such a file; no name is too long or too odd to ask for."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _with_parent(path: Path, data: Mapping[str, Any], seen: tuple[Path, ...]) -> dict[str, Any]:
    """Merge a model file onto the one that it extends, which extends nothing."""
    child = dict(data)
    parent_name = child.pop("extends", None)
    if parent_name is None:
        return child
    if not isinstance(parent_name, str):
        raise SpecError(
            f"expected the name of a model, got {parent_name!r}",
            where=(str(path), "key extends"),
            mend='write extends = "networks", or the path of a model file',
        )
    sibling = path.parent / f"{parent_name}.toml"
    try:
        parent = sibling if _is_file(sibling) else _find(parent_name, models_folder(), "model")
    except SpecError as err:
        raise SpecError(err.what, where=(str(path), "key extends"), mend=err.mend) from None
    if not parent.is_absolute() and not _is_file(parent):
        parent = path.parent / parent
    if parent.resolve() in seen:
        circle = " → ".join(p.stem for p in (*seen, parent))
        raise SpecError(
            f"models extend each other in a circle: {circle}",
            where=(str(path), "key extends"),
            mend="let one of them stand on its own",
        )
    if len(seen) > 1:
        chain = " → ".join(p.stem for p in (*seen, parent))
        raise SpecError(
            f"a model extends one that extends nothing, and here is a chain: {chain}",
            where=(str(path), "key extends"),
            mend=f"let {path.stem} say all by itself, or {seen[0].stem} extend {parent.stem}",
        )
    below = _with_parent(parent, read_toml(parent, "model"), (*seen, parent.resolve()))
    # On its own first, so that a mistake in it is reported under its own name.
    validate(ModelSpec, {"name": parent.stem} | below, file=str(parent))
    own = ("name", "title", "claim", "expect")
    return merge({k: v for k, v in below.items() if k not in own}, child)
