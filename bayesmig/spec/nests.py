"""Nests of a model file: which alternatives are closer substitutes for each other."""

from __future__ import annotations

from collections.abc import Sequence

from bayesmig.errors import SpecError, nearest
from bayesmig.spec.priors import Frozen, Name


class Nest(Frozen):
    """Alternatives that are closer substitutes for each other than for the rest.

    Attributes
    ----------
    name
        The label of its ``lambda_nest``.
    alternatives
        Those that lie directly in it; may be empty where other nests lie in it.
    within
        The nest in which it lies; left out, none.
    """

    name: Name
    alternatives: tuple[Name, ...] = ()
    within: Name | None = None


def check_nests(nests: Sequence[Nest], alternatives: Sequence[str]) -> None:
    """Refuse nests that are no tree, or whose lambda nothing could show.

    Parameters
    ----------
    nests
        Of a theory.
    alternatives
        Its choice set.

    Raises
    ------
    SpecError
        Where a name is unknown or stands twice, nests lie in each other in a circle, or a
        nest (or the choice set itself) holds fewer than two alternatives and nests.
    """
    names = [nest.name for nest in nests]
    for number, nest in enumerate(nests):
        where = f"key nests[{number}]"
        if nest.name in names[:number]:
            raise SpecError(
                f"the nest {nest.name!r} stands twice",
                where=f"{where}.name",
                mend="give every nest a name of its own",
            )
        if nest.within is not None and nest.within not in names:
            raise SpecError(
                f"{nest.within!r} is not a nest; {nearest(nest.within, names)}",
                where=f"{where}.within",
                mend="name another entry of [[nests]]",
            )
        _known_once(nest, number, nests, alternatives)
    for number, nest in enumerate(nests):
        _no_circle(nest, number, nests)
    for number, nest in enumerate(nests):
        _at_least_two(
            len(nest.alternatives) + sum(n.within == nest.name for n in nests),
            f"the nest {nest.name!r}",
            f"key nests[{number}].alternatives",
        )
    if nests:
        inside = sum(len(nest.alternatives) for nest in nests)
        outside = len(alternatives) - inside + sum(n.within is None for n in nests)
        _at_least_two(outside, "the choice set, its outermost nest counted as one,", "key nests")


def _known_once(
    nest: Nest, number: int, nests: Sequence[Nest], alternatives: Sequence[str]
) -> None:
    taken = [a for other in nests[:number] for a in other.alternatives]
    for place, alternative in enumerate(nest.alternatives):
        where = f"key nests[{number}].alternatives"
        if alternative not in alternatives:
            raise SpecError(
                f"{alternative!r} is not an alternative; {nearest(alternative, alternatives)}",
                where=where,
                mend="name one of " + ", ".join(alternatives),
            )
        if alternative in taken or alternative in nest.alternatives[:place]:
            raise SpecError(
                f"the alternative {alternative!r} lies in two nests",
                where=where,
                mend="name it in one; nests of several levels are told with within",
            )


def _no_circle(nest: Nest, number: int, nests: Sequence[Nest]) -> None:
    by_name, at, steps = {n.name: n for n in nests}, nest, 0
    while at.within is not None:
        at, steps = by_name[at.within], steps + 1
        if steps > len(nests):
            raise SpecError(
                f"the nest {nest.name!r} lies in itself",
                where=f"key nests[{number}].within",
                mend="leave within out for an outermost nest",
            )


def _at_least_two(count: int, what: str, where: str) -> None:
    if count < 2:
        raise SpecError(
            f"{what} holds {count} alternative or nest: its lambda could not be told from "
            "the scale of the coefficients",
            where=where,
            mend="a nest groups at least two of at least three; leave it out otherwise",
        )
