"""What a theory has beyond a logit that is linear in its columns, in words and formulas.

Formulas are those of `bayesmig.choice.nested`, `bayesmig.choice.consideration`,
`bayesmig.choice.response` and `bayesmig.design.penalised`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bayesmig.explanation.context import CHOICE, GROUPS, UTILITY, Context
from bayesmig.explanation.page import Block, Equation, Items, Math, Section
from bayesmig.explanation.utility import feasible_terms
from bayesmig.explanation.words import an, counted, listed, name_in_latex, unit_of, units_of
from bayesmig.spec.curves import Curve
from bayesmig.spec.model import ModelSpec, Taste
from bayesmig.spec.nests import Nest

#: Shape of a curve -> its formula, and what its parameters are.
CURVES: Mapping[str, tuple[Math, str]] = {
    "linear": (Math("N", "N"), "a straight line"),
    "log1p": (
        Math("log(1 + N)", r"\log\left(1 + N\right)"),
        "the more there is, the less one more adds",
    ),
    "saturating": (
        Math("N / (N + N0)", r"\frac{N}{N + N_{0}}"),
        "N0 = half_saturation[{label}]: half of the effect is reached there",
    ),
    "hill": (
        Math("N^q / (N^q + N0^q)", r"\frac{N^{q}}{N^{q} + N_{0}^{q}}"),
        "N0 = half_saturation[{label}]: half of the effect is reached there; "
        "q = hill_exponent[{label}]: above one, little happens below N0, a threshold",
    ),
    "hump": (
        Math("N - w·N²", r"N - \omega N^2"),
        "w = hump_bend[{label}]: with w = 0 a straight line, else it turns at "
        "N = 1 / (2 w) = turning_point[{label}]",
    ),
}


def choice_equation(spec: ModelSpec) -> Equation:
    """Probabilities of what is chosen first: alternatives, or nests and what lies in none."""
    given, given_tex = (" | S", r" \mid S") if spec.consideration is not None else ("", "")
    over = "all k" if spec.consideration is None else "k in S"
    under = "k" if spec.consideration is None else r"k \in S"
    left = Math(f"P(y = j{given})", f"P(y = j{given_tex})")
    note = ""
    if spec.nests:
        outer = [*_outermost(spec), *(f"the nest {n.name}" for n in spec.nests if not n.within)]
        note = f"j and k stand for {listed(outer)}, which lie in no nest"
        left = Math(f"P(j{given})", f"P(j{given_tex})")
    ratio = Math(
        f"exp V[j] / (sum of exp V[k] over {over})",
        rf"\frac{{\exp V_j}}{{\sum_{{{under}}} \exp V_{{k}}}}",
    )
    return Equation(left, (ratio,), note=note)


def _outermost(spec: ModelSpec) -> list[str]:
    inside = {a for nest in spec.nests for a in nest.alternatives}
    return [a for a in spec.choice.alternatives if a not in inside]


# -------------------------------------------------------------------------- the choice


def nests(context: Context) -> Iterator[Section]:
    """Nested logit: inclusive values, and choices within nests."""
    spec = context.spec
    if not spec.nests:
        return
    feasible = spec.consideration is not None
    among = " and is feasible; a nest without anything feasible is not there" if feasible else ""
    given = " | S" if feasible else ""
    yield Section(
        CHOICE,
        (
            Equation(
                Math("V[m]", "V_{m}"),
                (
                    Math(
                        "L[m]·log(sum of exp(V[c] / L[m]) over c in m)",
                        r"\lambda_{m} \log \sum_{c \in m} \exp\left(V_{c} / \lambda_{m}\right)",
                    ),
                ),
                note=f"the inclusive value of nest m, over what lies in it{among}",
            ),
            Equation(
                Math("P(c | m)", r"P(c \mid m)"),
                (
                    Math(
                        "exp((V[c] - V[m]) / L[m])",
                        r"\exp\left(\left(V_{c} - V_{m}\right) / \lambda_{m}\right)",
                    ),
                ),
                note=f"what is chosen in a nest; P(y = j{given}) is the product down to j",
            ),
            Items(tuple((f"nest {n.name}", _nest_words(spec, n)) for n in spec.nests)),
            "L lies between 0 and 1, and in a nest within a nest at most at that of the outer "
            "one. At one, the nest changes nothing: the model is the logit. The closer to 0, the "
            "more those who give up one alternative of the nest go to another of it.",
        ),
    )


def _nest_words(spec: ModelSpec, nest: Nest) -> str:
    inner = (f"the nest {n.name}" for n in spec.nests if n.within == nest.name)
    holds = listed([*nest.alternatives, *inner])
    within = f", within the nest {nest.within}" if nest.within else ""
    return f"{holds}{within}; L[{nest.name}] is lambda_nest[{nest.name}]"


def consideration(context: Context) -> Iterator[Section]:
    """Sets of feasible alternatives, averaged out."""
    spec = context.spec
    if spec.consideration is None:
        return
    names = list(spec.consideration.feasible)
    sets = 2 ** len(names)
    yield Section(
        CHOICE,
        (
            f"S is what is feasible: {listed(_always(spec))} for everybody, and "
            f"{listed(names)} each with a probability q of its own"
            f"{', independently' if len(names) > 1 else ''}. The {sets} sets are averaged out:",
            Equation(
                Math("P(y = j)", "P(y = j)"),
                (
                    Math(
                        "sum of P(S)·P(y = j | S) over all S",
                        r"\sum_{S} P(S)\, P(y = j \mid S)",
                    ),
                ),
            ),
            Equation(
                Math("P(S)", "P(S)"),
                (
                    Math(
                        "(product of q[k], k in S)·(product of 1 - q[k], k not in S)",
                        r"\prod_{k \in S} q_{k} \prod_{k \notin S} \left(1 - q_{k}\right)",
                    ),
                ),
                note=f"k = {listed(names, 'or')}",
            ),
            *(_odds(context, name) for name in names),
            "f are log odds of being feasible; a fit lists them as feasibility[NAME:ALTERNATIVE].",
            *_signs(spec),
        ),
    )


def _always(spec: ModelSpec) -> list[str]:
    assert spec.consideration is not None
    return [a for a in spec.choice.alternatives if a not in spec.consideration.feasible]


def _odds(context: Context, alternative: str) -> Equation:
    constant, summands = feasible_terms(context.spec, context.beside, alternative)
    name = name_in_latex(alternative)
    return Equation(
        Math(f"logit q[{alternative}]", rf"\mathrm{{logit}}\, q_{{{name}}}"),
        (*constant, *(s.math for s in summands)),
    )


def _signs(spec: ModelSpec) -> Iterator[Block]:
    assert spec.consideration is not None
    said = [
        f"that of {name} for {alternative} is {sign}"
        for alternative, of in spec.consideration.signs.items()
        for name, sign in of.items()
    ]
    if said:
        yield f"Signs are assumed, not found: {listed(said)}."


# ------------------------------------------------------------------------- the utility


def shared(context: Context) -> Iterator[Section]:
    """Deviations of streams from coefficients that they share."""
    columns = context.spec.utility.shared_columns
    if not columns:
        return
    yield Section(
        UTILITY,
        (
            Equation(
                Math("u_deviation[j,x]", r"u^{\mathrm{deviation}}_{j,x}"),
                (
                    Math(
                        "Normal(0, sigma_deviation²)",
                        r"\mathcal{N}\left(0,\; \sigma_{\mathrm{deviation}}^2\right)",
                    ),
                ),
                "~",
                note=f"independently for x = {listed(columns, 'or')} and all j",
            ),
            f"Streams share their drivers as far as sigma_deviation, which is learnt, is small: "
            f"at zero, {listed(columns)} "
            f"{'acts' if len(columns) == 1 else 'act'} on all streams alike. Deviations are per "
            "standard deviation of a column in the survey.",
        ),
    )


def pools(context: Context) -> Iterator[Section]:
    """Columns of one kind, with effects around a mean."""
    for pool in context.spec.pools:
        name, latex, by = pool.name, *map(name_in_latex, (pool.name, pool.by))
        per = "standard deviation" if pool.per == "sd" else "unit"
        yield Section(
            UTILITY,
            (
                Equation(
                    Math(f"{name}[j,x]", rf"{latex}_{{j,x}}"),
                    (
                        Math(f"beta[{name}, j]", rf"\beta_{{{latex},j}}"),
                        Math(f"u_{pool.by}[j,x]", rf"u^{{{by}}}_{{j,x}}"),
                    ),
                ),
                Equation(
                    Math(f"u_{pool.by}[j,x]", rf"u^{{{by}}}_{{j,x}}"),
                    (
                        Math(
                            f"Normal(0, sigma_{pool.by}²)",
                            rf"\mathcal{{N}}\left(0,\; \sigma_{{{by}}}^2\right)",
                        ),
                    ),
                    "~",
                    note=f"independently for x = {listed(pool.columns, 'or')} and all j",
                ),
                f"{listed(pool.columns)} are of one kind: their effects, per {per} of a column, "
                f"lie around the mean effect beta[{name}, j]: partial pooling. How far they lie "
                f"from it (sigma_{pool.by}) is learnt: at zero only their sum counts; a column of "
                "which the data say little is drawn towards the mean.",
            ),
        )


def smooths(context: Context) -> Iterator[Section]:
    """Penalised splines beside lines."""
    several = len(context.spec.choice.nonbase) > 1
    for smooth in context.spec.smooths:
        column, name = smooth.column, name_in_latex(smooth.column)
        index = name_in_latex(f"smooth_{column}")
        how = (
            f"Bends are correlated across alternatives (corr_smooth_{column})."
            if smooth.correlated and several
            else "Bends of one alternative have nothing to do with those of another."
            if several
            else ""
        )
        yield Section(
            UTILITY,
            (
                Equation(
                    Math(f"s_{column}[j](x)", rf"s^{{{name}}}_{{j}}\left(x\right)"),
                    (
                        Math(
                            f"sum of u_smooth_{column}[j,k]·Z[k](x), k = 1 to {smooth.bends}",
                            rf"\sum_{{k=1}}^{{{smooth.bends}}} u^{{{index}}}_{{j,k}}\, "
                            r"Z_{k}\left(x\right)",
                        ),
                    ),
                ),
                Equation(
                    Math(f"u_smooth_{column}[j,k]", rf"u^{{{index}}}_{{j,k}}"),
                    (
                        Math(
                            f"Normal(0, sigma_smooth_{column}[j]²)",
                            rf"\mathcal{{N}}\left(0,\; \sigma_{{{index},j}}^2\right)",
                        ),
                    ),
                    "~",
                ),
                f"The effect of {column} may bend smoothly around its line, which has a "
                f"coefficient of its own: Z are the {smooth.bends} bends of a cubic spline "
                "without constant and line, the slowest first. How far they reach "
                f"(sigma_smooth_{column}) is learnt for each alternative: where the data show no "
                f"bend there is little of one. {how} Outside the range of the survey nothing is "
                "known of it.".replace("  ", " "),
            ),
        )


def curves(context: Context) -> Iterator[Section]:
    """Response curves."""
    for number, curve in enumerate(context.spec.curves, start=1):
        yield Section(UTILITY, (_curve(number, curve),))


def _curve(number: int, curve: Curve) -> Equation:
    formula, words = CURVES[curve.shape]
    parameters = words.replace("{label}", curve.label)
    shape = ", one shape for all of them" if len(curve.alternatives) > 1 else ""
    return Equation(
        Math(f"h{number}(N)", rf"h_{{{number}}}\left(N\right)"),
        (formula,),
        note=(
            f"N is {curve.column}, and acts on {listed(curve.alternatives)} along a "
            f"{'Hill' if curve.shape == 'hill' else curve.shape} curve{shape}: {parameters}"
        ),
    )


# ------------------------------------------------------------------------------ groups


def tastes(context: Context) -> Iterator[Section]:
    """Coefficients of attributes that vary: mixed logit."""
    for taste in context.spec.tastes:
        yield Section(GROUPS, tuple(_taste(context, taste)))


def _taste(context: Context, taste: Taste) -> Iterator[Block]:
    by = name_in_latex(taste.by)
    sigma = rf"\boldsymbol{{\sigma}}^{{\mathrm{{taste}}}}_{{{by}}}"
    correlated = taste.correlated and len(taste.attributes) > 1
    note = f"S = diagonal of sigma_taste_{taste.by}"
    if correlated:
        note += f", R = corr_taste_{taste.by}"
        spread = Math(
            "Normal(0, S R S)",
            rf"\mathcal{{N}}\left(0,\; \mathrm{{diag}}({sigma})\, "
            rf"R^{{\mathrm{{taste}}}}_{{{by}}}\, \mathrm{{diag}}({sigma})\right)",
        )
    else:
        spread = Math(
            "Normal(0, S²)", rf"\mathcal{{N}}\left(0,\; \mathrm{{diag}}({sigma})^2\right)"
        )
    yield Equation(Math(f"taste_{taste.by}", rf"\boldsymbol{{t}}^{{{by}}}"), (spread,), "~", note)
    one, own = unit_of(taste.by), listed(taste.attributes)
    columns = [context.file_column(part) for part in taste.parts]
    other = listed(c for c, part in zip(columns, taste.parts, strict=True) if c != part)
    survey = f" ({other} of this survey)" if other else ""
    numbers = counted(len(taste.attributes), "number")
    how = f"They are correlated (corr_taste_{taste.by}). " if correlated else ""
    yield (
        f"Each {one}{survey} has a taste of its own for {own}, {numbers} in all, around the "
        f"coefficient that all have (a mixed logit). {how}How far tastes reach "
        f"(sigma_taste_{taste.by}, for one unit of the attribute) is learnt; {an(one)} with few "
        f"choices is drawn towards all {units_of(taste.by)}."
    )
