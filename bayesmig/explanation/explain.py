"""`explain`: a theory in words and formulas, block by block.

Every field of a model file has one describing function in `DESCRIBERS`, and every key of its
tables is listed in `DESCRIBED`. Tests hold both against `bayesmig.spec.model`, so that a new
block cannot be left out in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bayesmig.errors import SpecError
from bayesmig.explanation.beliefs import (
    coefficient_words,
    constant_words,
    correlation_words,
    scale_prior_words,
)
from bayesmig.explanation.beliefs_beyond import beliefs_beyond
from bayesmig.explanation.beyond import (
    choice_equation,
    consideration,
    curves,
    nests,
    pools,
    shared,
    smooths,
    tastes,
)
from bayesmig.explanation.claims import GROUND, rope_meaning, spelled_out
from bayesmig.explanation.context import (
    AVERAGES,
    CHOICE,
    CLAIM,
    COLUMNS,
    GROUPS,
    HYPOTHESES,
    IDENTIFIED,
    PRIORS,
    UTILITY,
)
from bayesmig.explanation.context import SECTIONS as SECTIONS
from bayesmig.explanation.context import Context as Context
from bayesmig.explanation.identification import (
    needs_of_columns,
    needs_of_hypothesis,
    needs_of_theory,
)
from bayesmig.explanation.page import Block, Equation, Explanation, Items, Math, Section
from bayesmig.explanation.utility import (
    SEVERAL,
    Summand,
    attribute_summands,
    deviation_terms,
    effects,
    has_constant,
    kind_of,
    only_summands,
    own_terms,
    persons_summands,
    pool_term,
    smooth_terms,
    symbols,
    taste_terms,
    with_own,
)
from bayesmig.explanation.words import an, counted, listed, name_in_latex, unit_of
from bayesmig.spec.askable import unaskable, why
from bayesmig.spec.library import load_model
from bayesmig.spec.mechanisms import mechanism_map
from bayesmig.spec.model import FAMILIES, Group, Hypothesis, ModelSpec
from bayesmig.spec.priors import Prior
from bayesmig.spec.references import citation
from bayesmig.survey.sources import source_of

if TYPE_CHECKING:
    from bayesmig.survey.survey import Survey


def explain(theory: ModelSpec | str | Path, survey: Survey | None = None) -> Explanation:
    """Say in words and formulas what a theory claims, assumes and needs.

    Nothing is fitted, and no column needs to be there: what the survey lacks is said.

    Parameters
    ----------
    theory
        A theory, the name of a packaged one, or the path of a model file.
    survey
        Where given, columns and groups are traced to this survey's own, and what it holds
        of the variation that the theory needs is told beside it.

    Returns
    -------
    Explanation
        Claim, choice set, utility, group effects, columns, priors, hypotheses and what
        identifies them. ``print`` shows its ``text``; ``latex`` has its formulas.

    Raises
    ------
    SpecError
        Where there is no such theory.

    Examples
    --------
    >>> import bayesmig as bm
    >>> explanation = bm.explain("baseline")
    >>> print(explanation.text.splitlines()[0])
    baseline: Constants and origins
    """
    spec = as_theory(theory)
    context = Context(spec, survey)
    found: dict[str, list[Block]] = {}
    for field in DESCRIBERS:
        for section in DESCRIBERS[field](context):
            found.setdefault(section.title, []).extend(section.blocks)
    sections = (Section(title, tuple(found[title])) for title in SECTIONS if title in found)
    return Explanation(spec.name, spec.title, tuple(sections))


def as_theory(theory: ModelSpec | str | Path) -> ModelSpec:
    """A theory as it is, or read by its name or path."""
    if isinstance(theory, ModelSpec):
        return theory
    if not isinstance(theory, str | Path):
        raise SpecError(
            f"a theory, its name or its file was expected, got {type(theory).__name__}",
            where="argument theory",
            mend='for instance "networks", or bm.load_model("theory.toml")',
        )
    return load_model(theory)


# ------------------------------------------------------------------- one block at a time


def _claim(context: Context) -> Iterator[Section]:
    if context.spec.claim:
        yield Section(CLAIM, (context.spec.claim,))


def _family(context: Context) -> Iterator[Section]:
    if context.spec.family:
        yield Section(CLAIM, (f"Its family: {FAMILIES[context.spec.family].lower()}.",))


def _mechanisms(context: Context) -> Iterator[Section]:
    entries = mechanism_map()
    rows = tuple((code, entries[code].title) for code in sorted(context.spec.mechanisms))
    if rows:
        yield Section(CLAIM, ("Mechanisms that it deals with:", Items(rows)))


def _references(context: Context) -> Iterator[Section]:
    rows = tuple(("-", citation(key)) for key in context.spec.references)
    if rows:
        yield Section(CLAIM, ("References:", Items(rows)))


def _choice(context: Context) -> Iterator[Section]:
    choice = context.spec.choice
    plain = not (context.spec.nests or context.spec.consideration)
    unit = "log odds" if plain else "differences of utility"
    against = "against" if plain else "from"
    yield Section(
        CHOICE,
        (
            f"Everybody chooses among {listed(choice.alternatives)}. Coefficients are {unit} "
            f"{against} {choice.base}, the base.",
            choice_equation(context.spec),
        ),
    )


def _available(context: Context) -> Iterator[Section]:
    for alternative, column in context.spec.available.items():
        yield Section(
            CHOICE,
            (
                f"{alternative} can be chosen where {column} is 1, and has probability zero where "
                "it is 0; the sum is over what can be chosen.",
            ),
        )


def _utility(context: Context) -> Iterator[Section]:
    spec, j = context.spec, "j"
    base = _v(context.base)
    at_base = attribute_summands(spec, context.varying, context.base)
    of_base = [s.math for s in at_base] + taste_terms(spec, context.varying, context.base)
    yield Section(UTILITY, (Equation(base, tuple(of_base) or (Math("0", "0"),)),))
    terms: list[Math] = []
    if has_constant(spec):
        terms.append(Math("asc[j]", r"\mathrm{asc}_j"))
    if context.has_periods:
        terms.append(Math("d[j,t]", r"\delta_{jt}"))
    persons = persons_summands(spec)
    attributes = attribute_summands(spec, context.varying, j)
    terms += [s.math for s in (*persons, *attributes)]
    terms += smooth_terms(spec)
    terms += [*map(pool_term, spec.pools), *deviation_terms(spec)]
    terms += [effect for group in spec.groups for effect in effects(group)]
    terms += taste_terms(spec, context.varying, j)
    note = f"for j = {listed(spec.choice.nonbase, 'or')}"
    blocks: list[Block] = [
        Equation(_v(j), tuple(terms) or (Math("0", "0"),), note=note),
    ]
    for alternative in with_own(spec):
        pieces = [Math("the above", r"\cdots"), *own_terms(spec, alternative)]
        blocks.append(Equation(_v(alternative), tuple(pieces), note="what it has alone"))
    yield Section(UTILITY, (*blocks, *_legend(context, persons, attributes)))
    yield from shared(context)


def _v(alternative: str) -> Math:
    index = alternative if alternative == "j" else name_in_latex(alternative)
    return Math(f"V[{alternative}]", f"V_{{{index}}}")


def _legend(context: Context, persons: list[Summand], attributes: list[Summand]) -> Iterator[Block]:
    """What the letters of the utility mean."""
    rows = []
    if has_constant(context.spec):
        rows.append(("asc[j]", "constant of j"))
    if context.has_periods:
        number = "" if context.facts is None else f" ({context.facts.n_periods} in this survey)"
        rows.append(("d[j,t]", f"constant of j in period t; zero in the first{number}"))
    if persons:
        rows.append(
            (
                _span(persons),
                "coefficients of the chooser's columns, one for each j; a fit lists them as "
                "beta[NAME, j], NAME with its products as "
                f"{next((s.label for s in persons if ':' in s.label), persons[0].label)}",
            )
        )
    common = [s for s in attributes if s.label in context.spec.utility.shared_columns]
    if differing := [s for s in attributes if s not in common]:
        rows.append((_span(differing), "coefficients of attributes, the same for all j"))
    if common:
        rows.append((_span(common), "coefficients that all streams share; a fit lists gamma[NAME]"))
    for alternative in context.spec.utility.only:
        own = only_summands(context.spec, alternative)
        if own:
            rows.append((_span(own), f"coefficients of columns that act on {alternative} alone"))
    rows += symbols(context.spec)
    rows += [
        (f"u_{g.by}[j]", f"effects of the {_of_survey(context, g)}; see below")
        for g in context.spec.groups
    ]
    summands = {s.label: s for s in (*persons, *attributes)}.values()
    rows += [row for s in summands for row in _unusual(s)]
    if rows:
        yield Items(tuple(rows))


def _span(summands: list[Summand]) -> str:
    names = [s.symbol for s in summands]
    numbers = [int(name[1:]) for name in names]
    if len(names) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{names[0]} to {names[-1]}"
    return listed(names)


def _unusual(summand: Summand) -> Iterator[tuple[str, str]]:
    """Transforms whose coefficients are not one number a column."""
    for factor in summand.factors:
        kind = kind_of(factor)
        if kind in SEVERAL:
            yield summand.symbol, f"several numbers: {factor.name} is a {SEVERAL[kind]}"
        elif kind == "C":
            level = factor.reference
            yield summand.symbol, f"one for each level of {factor.columns[0]} other than {level}"
        elif kind in ("scale", "center"):
            over = " over its standard deviation" if kind == "scale" else ""
            yield summand.symbol, f"{factor.name}: less the mean{over}, both of the survey fitted"


def _of_survey(context: Context, group: Group) -> str:
    """A group factor, with the survey's own name of its column."""
    columns = [context.file_column(part) for part in group.parts]
    own = listed(c for c, part in zip(columns, group.parts, strict=True) if c != part)
    return unit_of(group.by) + (f" ({own} of this survey)" if own else "")


def _groups(context: Context) -> Iterator[Section]:
    for group in context.spec.groups:
        yield Section(GROUPS, (_effect_equation(context, group), *_effect_words(context, group)))


def _effect_equation(context: Context, group: Group) -> Equation:
    name = group.by
    symbol = Math(f"u_{name}", rf"\boldsymbol{{u}}^{{{name_in_latex(name)}}}")
    note = f"S = diagonal of sigma_{name}"
    sigma = rf"\boldsymbol{{\sigma}}_{{{name_in_latex(name)}}}"
    if is_correlated(context.spec, group):
        note += f", R = corr_{name}"
        spread = Math(
            "Normal(0, S R S)",
            rf"\mathcal{{N}}\left(0,\; \mathrm{{diag}}({sigma})\, R_{{{name_in_latex(name)}}}\, "
            rf"\mathrm{{diag}}({sigma})\right)",
        )
    else:
        spread = Math(
            "Normal(0, S²)",
            rf"\mathcal{{N}}\left(0,\; \mathrm{{diag}}({sigma})^2\right)",
        )
    return Equation(symbol, (spread,), "~", note)


def is_correlated(spec: ModelSpec, group: Group) -> bool:
    """Whether effects of one group are correlated with each other."""
    size = effects_of_one(spec, group)
    return group.correlated and (size is None or size > 1)


def effects_of_one(spec: ModelSpec, group: Group) -> int | None:
    """How many effects one group has; ``None`` where that depends on a survey's levels."""
    kinds = {kind_of(f) for f in group.formula.factors}
    if kinds & {"C", *SEVERAL}:
        return None
    terms = len(group.formula.terms) + (group.formula.intercept is not False)
    return terms * len(spec.choice.nonbase)


def _effect_words(context: Context, group: Group) -> Iterator[Block]:
    spec, name = context.spec, group.by
    constant = ["a constant"] if group.formula.intercept is not False else []
    slopes = [f"a slope of {':'.join(f.name for f in term)}" for term in group.formula.terms]
    has = listed([*constant, *slopes])
    size = effects_of_one(spec, group)
    number = "" if size is None else f", {counted(size, 'number')} in all"
    how = (
        f"They are correlated (corr_{name}): {_correlated_over(spec, group)}."
        if is_correlated(spec, group)
        else "They are independent of each other."
    )
    yield (
        f"Each {_of_survey(context, group)} has {has} for each of "
        f"{listed(spec.choice.nonbase)}{number}. {how} How far they reach (sigma_{name}) is "
        f"learnt; {an(unit_of(group.by))} with few people is drawn towards the mean of all."
    )


def _correlated_over(spec: ModelSpec, group: Group) -> str:
    over = []
    if len(spec.choice.nonbase) > 1:
        first, second = spec.choice.nonbase[:2]
        over.append(
            f"{an(unit_of(group.by))} with more {first} choices than the columns say may have "
            f"more, or fewer, {second} ones too"
        )
    if group.formula.terms:
        over.append("slopes may go with constants")
    return listed(over)


def _columns(context: Context) -> Iterator[Section]:
    meanings = context.spec.columns
    rows = [(column, _column_words(context, column, meanings[column])) for column in meanings]
    extra = [c for c in _read(context.spec) if c not in meanings]
    rows += [(column, _column_words(context, column, "")) for column in extra]
    if context.survey is not None:
        roles = [part for group in context.spec.groups for part in group.parts]
        roles += [part for taste in context.spec.tastes for part in taste.parts]
        roles += ["period"] if context.has_periods else []
        rows += [(role, _role_words(context, role)) for role in dict.fromkeys(roles)]
    if rows:
        yield Section(COLUMNS, (Items(tuple(rows), below=True),))


def _read(spec: ModelSpec) -> tuple[str, ...]:
    """Every column that the theory reads of people or alternatives, in order."""
    named = [c for formula in spec.formulas.values() for c in formula.columns]
    return tuple(dict.fromkeys([*named, *spec.available.values()]))


def _column_words(context: Context, column: str, meaning: str) -> str:
    said = [f"{meaning}." if meaning else "the theory does not say what it holds."]
    survey = context.survey
    if survey is None:
        return said[0]
    if column in survey.attributes:
        pairs = (f"{a} {source}" for a, source in survey.attributes[column].items())
        said.append(f"In this survey an attribute: {', '.join(pairs)}.")
    elif column not in survey.names:
        said.append("NOT in this survey.")
    elif column in survey.codebook.made():
        made = source_of(survey.codebook, column) or f"made by {survey.codebook.key_of(column)}"
        said.append(f"In this survey: {made.removeprefix('= ')}.")
    else:
        said.append(f"In this survey: the column {context.file_column(column)}, as it is.")
    return " ".join(said)


def _role_words(context: Context, role: str) -> str:
    if context.facts is None or not context.facts.has(role):
        return "NOT in this survey."
    number, _ = context.facts.groups(role)
    column = context.file_column(role)
    kind = "the role" if column != role else "the column"
    return f"{kind} {role} is the column {column} of this survey, {counted(number, 'value')}."


def _priors(context: Context) -> Iterator[Section]:
    spec, priors, base = context.spec, context.spec.priors, context.base
    said: dict[str, list[str]] = {}

    def say(name: str, words: str) -> None:
        said.setdefault(f"{words[0].upper()}{words[1:]}.", []).append(name)

    if has_constant(spec) or any(f.intercept for f in spec.utility.only_formulas.values()):
        say("constants (asc)", constant_words(priors.asc, base))
    columns = ["columns of the chooser"] if persons_summands(spec) else []
    columns += ["constants of periods"] if context.has_periods else []
    if columns:
        say(f"{listed(columns)} (persons)", coefficient_words(priors.persons, base))
    if any(f.terms for f in spec.utility.only_formulas.values()):
        say("columns of one alternative (only)", coefficient_words(priors.only, base))
    if spec.utility.alternatives is not None:
        say("attributes (alternatives)", coefficient_words(priors.alternatives, ""))
    if spec.utility.shared is not None:
        say("what is shared (alternatives)", coefficient_words(priors.alternatives, base))
    for own in priors.coefficient:
        of = f" of {own.alternative}" if own.alternative else ""
        say(f"{own.name}{of}", _own_prior(own.name, own, own.block, base))
    for group in spec.groups:
        say(f"sigma_{group.by}", scale_prior_words(priors.scale))
        if is_correlated(spec, group):
            size = effects_of_one(spec, group)
            say(f"corr_{group.by}", correlation_words(priors.correlation, size))
    for name, words in beliefs_beyond(spec):
        say(name, words)
    rows = tuple((listed(names), words) for words, names in said.items())
    if rows:
        yield Section(PRIORS, (*_odds_of(spec), Items(rows, below=True)))


def _odds_of(spec: ModelSpec) -> Iterator[Block]:
    """Of which odds priors speak, where they are not those of the choice."""
    where = ["with all lambdas one"] if spec.nests else []
    where += ["with everything feasible"] if spec.consideration is not None else []
    if where:
        yield f"Odds between alternatives are those that hold {listed(where)}."


def _own_prior(name: str, prior: Prior, block: str, base: str) -> str:
    if name == "asc":
        return constant_words(prior, base)
    return coefficient_words(prior, "" if block == "alternatives" else base)


def _hypotheses(context: Context) -> Iterator[Section]:
    if context.spec.hypotheses:
        yield Section(HYPOTHESES, (GROUND,))
    for name, hypothesis in context.spec.hypotheses.items():
        yield Section(HYPOTHESES, (_hypothesis(context, name, hypothesis),))
    general = tuple(needs_of_theory(context.spec, context.facts))
    single = tuple(needs_of_columns(context.spec, context.facts))
    blocks = [Items(rows, below=True) for rows in (general, single) if rows]
    if blocks:
        yield Section(IDENTIFIED, tuple(blocks))


def _hypothesis(context: Context, name: str, hypothesis: Hypothesis) -> Items:
    code = hypothesis.mechanism
    of = f" ({code} {mechanism_map()[code].title})" if code else ""
    needs = " ".join(needs_of_hypothesis(context.spec, hypothesis, context.facts))
    attributes = None if context.survey is None else context.survey.attributes
    idle = unaskable(context.spec, hypothesis, attributes)
    return Items(
        (
            (f"{name}{of}", f"“{hypothesis.claim.strip()}”"),
            ("", spelled_out(hypothesis)),
            ("", rope_meaning(hypothesis)),
            *([("", f"WARNING: {why(idle)}.")] if idle else []),
            ("", f"Identified by {needs}"),
        ),
        below=True,
    )


def _weights(context: Context) -> Iterator[Section]:
    if context.spec.weights == "ignore":
        text = "Survey weights are not used at all: the theory says so."
    elif context.spec.weights == "pseudo":
        text = (
            "Survey weights, scaled to sum to the rows, weigh the likelihood (a pseudo-posterior) "
            "and averages over people. The spread of coefficients and of the scales of groups is "
            "corrected for strata, sampling units and weights."
        )
        if context.survey is not None and context.survey.has("weight"):
            text += f" Here they are the column {context.file_column('weight')}."
    else:
        text = (
            "Survey weights, where there are any, weigh averages over people; the likelihood is "
            "not weighted."
        )
        if context.survey is not None:
            declared = context.survey.has("weight")
            text += (
                f" Here they are the column {context.file_column('weight')}."
                if declared
                else " This survey declares none."
            )
    yield Section(AVERAGES, (text,))


def _expect(context: Context) -> Iterator[Section]:
    counts = context.spec.expect.model_dump(exclude_none=True)
    words = {
        "persons": "for each alternative but the base, the constant included",
        "only": "of single alternatives",
        "alternatives": "of attributes",
    }
    if counts:
        said = listed(f"{counted(n, 'coefficient')} {words[b]}" for b, n in counts.items())
        yield Section(AVERAGES, (f"Its author expects {said}.",))


def _heading(_: Context) -> Iterator[Section]:
    """The name and title stand above all sections."""
    return iter(())


#: Field of `ModelSpec` -> what describes it. Sections of one title are put together.
DESCRIBERS: Mapping[str, Callable[[Context], Iterator[Section]]] = {
    "name": _heading,
    "title": _heading,
    "claim": _claim,
    "family": _family,
    "mechanisms": _mechanisms,
    "references": _references,
    "choice": _choice,
    "available": _available,
    "nests": nests,
    "consideration": consideration,
    "utility": _utility,
    "smooths": smooths,
    "pools": pools,
    "curves": curves,
    "groups": _groups,
    "tastes": tastes,
    "columns": _columns,
    "priors": _priors,
    "hypotheses": _hypotheses,
    "weights": _weights,
    "expect": _expect,
}

#: Table of a model file -> the keys of it that the functions above speak of.
DESCRIBED: Mapping[str, frozenset[str]] = {
    "ChoiceSet": frozenset({"alternatives", "base"}),
    "Utility": frozenset({"persons", "only", "alternatives", "shared", "period_constants"}),
    "Group": frozenset({"by", "terms", "correlated"}),
    "Smooth": frozenset({"column", "bends", "correlated"}),
    "Pool": frozenset({"name", "columns", "per"}),
    "Taste": frozenset({"by", "attributes", "correlated"}),
    "Nest": frozenset({"name", "alternatives", "within"}),
    "Curve": frozenset({"column", "shape", "alternatives", "name"}),
    "Consideration": frozenset({"feasible", "signs"}),
    "Hypothesis": frozenset({"claim", "statement", "rope", "mechanism"}),
    "Expect": frozenset({"persons", "only", "alternatives"}),
    "Priors": frozenset(
        {
            *("asc", "persons", "only", "alternatives", "scale", "correlation", "coefficient"),
            *("lambda_nest", "curve_effect", "half_saturation", "hill_exponent", "hump_bend"),
            "feasibility",
        }
    ),
    "Prior": frozenset({"dist", "loc", "scale", "df", "per"}),
    "CoefficientPrior": frozenset(
        {"dist", "loc", "scale", "df", "per", "block", "name", "alternative"}
    ),
    "ScalePrior": frozenset({"dist", "scale", "df"}),
    "CorrelationPrior": frozenset({"eta"}),
    "NestPrior": frozenset({"alpha", "beta"}),
    "CurvePrior": frozenset({"slope", "height"}),
    "HalfSaturationPrior": frozenset({"alpha", "beta"}),
    "ExponentPrior": frozenset({"loc", "scale"}),
    "BendPrior": frozenset({"scale"}),
    "FeasibilityPrior": frozenset({"scale", "constant_loc", "constant_scale"}),
    "Average": frozenset({"verb", "variable", "alternative", "at", "level", "other", "term"}),
}
