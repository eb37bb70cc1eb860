"""What the parameters of a design are called, and where they lie in a vector."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from bayesmig.choice.response import EFFECT
from bayesmig.design.design import Design, GroupLayout

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Block:
    """Where an array lies in a vector."""

    start: int
    shape: tuple[int, ...]

    @property
    def stop(self) -> int:
        """Where the next one starts."""
        return self.start + prod(self.shape)

    def of(self, vector: Array) -> Array:
        """Its part of vectors ``(..., length)``, in its shape; of one vector, a view."""
        return vector[..., self.start : self.stop].reshape(*vector.shape[:-1], *self.shape)


@dataclass(frozen=True, slots=True)
class Factor:
    """One group factor.

    Attributes
    ----------
    by
        Its name.
    shape
        (group, nonbase, term).
    copies
        Effects of a group that share a standard deviation.
    deviates
        Whether they are deviations from coefficients that all alternatives share.
    log_sigma, correlation
        In theta: log standard deviations, and the free vectors of the correlation.
    effects
        Among the effects of all factors, ``(group, width)``.
    """

    by: str
    shape: tuple[int, int, int]
    copies: int
    deviates: bool
    log_sigma: Block
    correlation: Block | None
    effects: Block

    @property
    def groups(self) -> int:
        """Number of groups."""
        return self.shape[0]

    @property
    def width(self) -> int:
        """Number of effects of one group."""
        return self.shape[1] * self.shape[2]

    @property
    def scales(self) -> int:
        """Number of their standard deviations."""
        return self.width // self.copies


@dataclass(frozen=True, slots=True)
class Layout:
    """The sampler's vector: theta, then epsilon of all factors, laid as their effects.

    Attributes
    ----------
    coefficients
        Sizes of the blocks of coefficients, with which theta starts: persons
        ``(coefficient, nonbase)``, only, attributes.
    factors
        The group factors.
    n_theta, n_effects
        Lengths of theta and of all effects.
    """

    coefficients: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    factors: tuple[Factor, ...]
    n_theta: int
    n_effects: int

    @property
    def n_coefficients(self) -> int:
        """Number of coefficients of all blocks."""
        return sum(prod(shape) for shape in self.coefficients)

    @property
    def size(self) -> int:
        """Length of the vector."""
        return self.n_theta + self.n_effects

    def split(self, coefficients: Array) -> tuple[Array, Array, Array]:
        """The coefficients of persons, only and attributes."""
        parts, at = [], 0
        for shape in self.coefficients:
            block = Block(at, shape)
            parts.append(block.of(coefficients))
            at = block.stop
        return parts[0], parts[1], parts[2]


def layout_of(design: Design) -> Layout:
    """Where the parameters of a design lie."""
    priors, nonbase = design.priors, len(design.nonbase)
    blocks = ("persons", "only", "alternatives")
    shapes = tuple(np.shape(priors[k].loc) for k in blocks)
    at, effect, factors = sum(prod(s) for s in shapes), 0, []
    for by, groups in design.layouts.items():
        shape = (len(groups.levels), nonbase, len(groups.terms))
        scales = prod(scale_shape(design, groups))
        log_sigma = Block(at, (scales,))
        at = log_sigma.stop
        correlation = None
        if groups.correlated and scales > 1:
            correlation = Block(at, (scales * (scales - 1) // 2,))
            at = correlation.stop
        effects = Block(effect, (shape[0], shape[1] * shape[2]))
        effect = effects.stop
        copies = effects.shape[1] // scales
        factors.append(
            Factor(by, shape, copies, groups.scales == "one", log_sigma, correlation, effects)
        )
    return Layout((shapes[0], shapes[1], shapes[2]), tuple(factors), at, effect)


#: Parameters of response curves and their dimensions.
_DIMS = {
    EFFECT: "curve_term",
    "half_saturation": "saturating_curve",
    "hill_exponent": "hill_curve",
    "hump_bend": "hump_curve",
}


def parameter_dims(design: Design) -> dict[str, tuple[str, ...]]:
    """Dimensions of every parameter, in the order of `Density.parameters`."""
    dims: dict[str, tuple[str, ...]] = {"beta": ("coefficient", "nonbase")}
    if design.only:
        dims["beta_only"] = ("only_term",)
    if design.attribute_terms:
        dims["gamma"] = ("attribute_term",)
    for by, taste in design.tastes.items():
        dims[f"taste_{by}"] = (by, f"{by}_taste")
        dims[f"sigma_taste_{by}"] = (f"{by}_taste",)
        if taste.correlated and len(taste.terms) > 1:
            dims[f"corr_taste_{by}"] = (f"{by}_taste", f"{by}_taste_other")
    if design.spec.nests:
        dims["lambda_nest"] = ("nest",)
    if design.responses is not None:
        dims |= {name: (_DIMS[name],) for name in design.responses.labels}
        if "hump_bend" in dims:
            dims["turning_point"] = dims["hump_bend"]
    if design.feasibility is not None:
        dims["feasibility"] = ("feasibility_term",)
    for by, layout in design.layouts.items():
        dims[f"u_{by}"] = (by, "nonbase", f"{by}_term")
        dims[f"sigma_{by}"] = ("nonbase", f"{by}_term")[: len(scale_shape(design, layout))]
        if layout.correlated and prod(scale_shape(design, layout)) > 1:
            dims[f"corr_{by}"] = (f"{by}_effect", f"{by}_effect_other")
    return dims


def scale_shape(design: Design, layout: GroupLayout) -> tuple[int, ...]:
    """Shape of the standard deviations of a factor's effects."""
    match layout.scales:
        case "one":
            return ()
        case "alternative":
            return (len(design.nonbase),)
        case _:
            return (len(design.nonbase), len(layout.terms))


def scale_labels(design: Design, layout: GroupLayout) -> list[str]:
    """What has a standard deviation of its own, by label: effects, alternatives, or all."""
    if layout.scales == "one":
        return ["all"]
    if layout.scales == "alternative":
        return list(design.nonbase)
    return [f"{t}:{a}" for a in design.nonbase for t in layout.terms]


def parameter_coords(design: Design) -> dict[str, list[str]]:
    """Labels of every dimension that `parameter_dims` names."""
    dims = parameter_dims(design)
    coords = {"coefficient": list(design.persons), "nonbase": list(design.nonbase)}
    if design.only:
        coords["only_term"] = [f"{name}:{alternative}" for alternative, name in design.only]
    if design.attribute_terms:
        coords["attribute_term"] = list(design.attribute_terms)
    for by, taste in design.tastes.items():
        coords[by] = list(map(str, taste.levels))
        coords[f"{by}_taste"] = list(taste.terms)
        if f"corr_taste_{by}" in dims:
            coords[f"{by}_taste_other"] = list(taste.terms)
    if design.spec.nests:
        coords["nest"] = [nest.name for nest in design.spec.nests]
    if design.responses is not None:
        coords |= {_DIMS[name]: [*labels] for name, labels in design.responses.labels.items()}
    if design.feasibility is not None:
        coords["feasibility_term"] = [f"{name}:{a}" for a, name in design.feasibility.labels]
    for by, layout in design.layouts.items():
        coords[by] = list(map(str, layout.levels))
        coords[f"{by}_term"] = list(layout.terms)
        effects = scale_labels(design, layout)
        if f"corr_{by}" in dims:
            coords[f"{by}_effect"] = coords[f"{by}_effect_other"] = effects
    return coords


def labels_of_theta(design: Design, layout: Layout) -> list[str]:
    """Names of what is in theta, as those of the draws that it is made of."""
    dims, coords = parameter_dims(design), parameter_coords(design)

    def labelled(name: str) -> list[str]:
        return [f"{name}[{', '.join(of)}]" for of in product(*(coords[d] for d in dims[name]))]

    found = [of for name in ("beta", "beta_only", "gamma") if name in dims for of in labelled(name)]
    for factor in layout.factors:
        found += labelled(f"sigma_{factor.by}")
        if factor.correlation is not None:
            of = coords[dims[f"corr_{factor.by}"][0]]
            found += [f"corr_{factor.by}[{a}, {b}]" for i, a in enumerate(of) for b in of[:i]]
    return found
