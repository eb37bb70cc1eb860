"""Colours are told apart by all readers: with any colour vision, and without colour."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from bayesmig.plots.checks import _DIVERGING
from bayesmig.plots.style import BAD, looks

Array = NDArray[np.float64]
#: Machado, Oliveira and Fernandes 2009 (doi 10.1109/TVCG.2009.113), full severity, linear RGB.
VISION = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
#: CIE 1976 differences of two per cent of the way from black to white are seen side by side;
#: marks that lie apart, and are small, need ten times that.
APART = 20.0
ALTERNATIVES = ["stay", "internal", "international", "both", "elsewhere"]


def lab(colour: object, vision: str) -> Array:
    """CIE L*a*b* of a colour as someone sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = (np.array(VISION[vision]) @ linear).clip(0, 1)
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
    ratio = np.array(to_xyz) @ seen / [0.95047, 1.0, 1.08883]
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def apart(one: object, other: object, vision: str) -> float:
    return float(np.linalg.norm(lab(one, vision) - lab(other, vision)))


def test_greys_lie_as_far_apart_as_they_are_light() -> None:
    """White and black are 100 apart in any vision, and grey lies between."""
    for vision in VISION:
        assert apart("white", "black", vision) == pytest.approx(100, abs=0.1)
        assert apart("#777777", "black", vision) == pytest.approx(50, abs=0.5)


@pytest.mark.parametrize("vision", VISION)
def test_alternatives_are_told_apart(vision: str) -> None:
    colours = [look.color for look in looks(ALTERNATIVES).values()]
    for one, other in combinations(colours, 2):
        assert apart(one, other, vision) >= APART, (one, other)


@pytest.mark.parametrize("vision", VISION)
def test_what_failed_is_told_from_what_holds(vision: str) -> None:
    good = looks(["internal"])["internal"].color
    assert apart(BAD, good, vision) >= APART
    assert apart(_DIVERGING(0.0), _DIVERGING(1.0), vision) >= APART
    for end in (0.0, 1.0):
        assert apart(_DIVERGING(end), "white", vision) >= APART


def test_red_and_green_are_not() -> None:
    """What the others would fail of: the usual pair, which one reader in twenty confuses."""
    assert apart("#c44e00", "#5f8700", "deuteranopia") < APART


def test_without_colour_markers_tell() -> None:
    markers = [look.marker for look in looks([*ALTERNATIVES, *map(str, range(8))]).values()]
    assert len(set(markers)) == len(markers)
