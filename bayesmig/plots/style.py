"""How every figure looks: palette, markers, units, and how it becomes SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

WIDTH = 8.0
"""Width of every figure, inches."""
INK, SOFT, FAINT, BAND = "#1a1a1a", "#595959", "#d9d9d9", "#eeeeee"
BAD = "#D55E00"

PLATE: Any = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
"""Put behind words that would else stand on a line."""

_STYLE: Any = {
    # One font that matplotlib itself brings: a figure is laid out alike everywhere.
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    # Names of columns are text, whatever dollar signs they hold.
    "text.parse_math": False,
    "figure.facecolor": "white",
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "axes.facecolor": "white",
    "axes.edgecolor": "#8c8c8c",
    "axes.labelcolor": SOFT,
    "axes.labelsize": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "axes.linewidth": 0.8,
    "axes.unicode_minus": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "xtick.color": "#8c8c8c",
    "xtick.labelcolor": SOFT,
    "xtick.labelsize": 8.5,
    "ytick.labelcolor": INK,
    "ytick.left": False,
    "lines.solid_capstyle": "butt",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "bayesmig",
    "savefig.facecolor": "white",
}


@dataclass(frozen=True, slots=True)
class Look:
    """Colour and marker of an alternative."""

    color: str
    marker: str


#: Okabe and Ito (2008), https://jfly.uni-koeln.de/color/; yellow is left out (on white
#: paper it cannot be read), and staying, the usual base, is grey. In such an order that readers
#: without one kind of cone tell the four fixed ones and one beside them apart; markers tell all.
_FIXED = {
    "stay": Look("#595959", "o"),
    "internal": Look("#0072B2", "s"),
    "international": Look("#D55E00", "^"),
    "both": Look("#CC79A7", "D"),
}
_COLORS = ("#56B4E9", "#000000", "#E69F00", "#CC79A7", "#009E73", "#0072B2", "#D55E00")
_MARKERS = ("v", "P", "X", "<", ">", "h", "p", "d", "*")


def looks(alternatives: Iterable[object]) -> dict[str, Look]:
    """Colour and marker of each alternative.

    Parameters
    ----------
    alternatives
        In the order of the survey. ``stay``, ``internal``, ``international`` and
        ``both`` look the same in every figure; others take what is left, in order.
    """
    names = list(dict.fromkeys(map(str, alternatives)))
    others = [name for name in names if name not in _FIXED]
    taken = {_FIXED[name].color for name in names if name in _FIXED}
    colors = [color for color in _COLORS if color not in taken]
    free = {
        name: Look(colors[i % len(colors)], _MARKERS[i % len(_MARKERS)])
        for i, name in enumerate(others)
    }
    return {name: _FIXED.get(name) or free[name] for name in names}


@dataclass(frozen=True, slots=True)
class Scale:
    """The unit that numbers are drawn in.

    Attributes
    ----------
    factor
        What table values are multiplied by.
    unit
        What an axis says.
    reference
        Value of no effect, in the unit; ``None`` where there is none.
    """

    factor: float
    unit: str
    reference: float | None = None


PERCENT = Scale(100, "per cent")
POINTS = Scale(100, "percentage points", 0.0)
_UNITS = (
    ("ratio", Scale(1, "ratio of probabilities", 1.0)),
    ("as a share", Scale(100, "per cent of the starting probability", 0.0)),
    ("per unit", Scale(100, "percentage points per unit", 0.0)),
    ("difference", POINTS),
)


def scale_of(unit: str, default: Scale = PERCENT) -> Scale:
    """The scale that an effect's unit, in words, asks for."""
    return next((scale for word, scale in _UNITS if word in unit), default)


class Drawing(Figure):
    """A figure that notebooks show by itself, without pyplot."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        file = io.BytesIO()
        with mpl.rc_context(_STYLE):
            self.savefig(file, format="png", dpi=192)
        width, height = self.get_size_inches()
        return file.getvalue(), {"width": round(96 * width), "height": round(96 * height)}


def styled[**P, R](draw: Callable[P, R]) -> Callable[P, R]:
    """Draw with the house style, and leave the caller's settings as they were."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return wrapper


def drawing(width: float, height: float, title: str) -> Drawing:
    """An empty figure with a title; sizes in inches."""
    figure = Drawing(figsize=(width, height), layout="constrained")
    figure.suptitle(wrapped(title, round(width * 11.5), lines=3), x=0.04 / width, ha="left")
    return figure


@styled
def noted(figure: Figure, note: str) -> Figure:
    """A figure with a note below, in the room that it needs."""
    width, height = figure.get_size_inches()
    text = wrapped(note, round(width * 13.5), lines=6)
    figure.set_size_inches(width, height + 0.1 + 0.15 * (1 + text.count("\n")))
    figure.supxlabel(text, x=0.04 / width, ha="left", fontsize=8.5, color=BAD)
    return figure


def wrapped(text: object, width: int, lines: int = 3) -> str:
    """Text on at most ``lines`` lines of at most ``width`` characters, then an ellipsis.

    Lines end after a space or an underscore: names of columns are often one long word.
    """
    found = [""]
    # Spaces that no line breaks at are left alone.
    clean = re.sub(r"[ \t\r\n]+", " ", str(text)).strip(" ")
    for piece in re.findall(r"[^ _]+[ _]*|_+", clean):
        for part in (piece[i : i + width] for i in range(0, len(piece), width)):
            if found[-1] and len(found[-1]) + len(part.rstrip()) > width:
                found.append("")
            found[-1] += part
    if len(found) > lines:
        found = [*found[: lines - 1], found[lines - 1][: width - 1].rstrip() + "…"]
    return "\n".join(line.rstrip() for line in found)


def plain(ax: Axes) -> None:
    """Take away everything but the place."""
    ax.set_axis_off()
    ax.grid(visible=False)


def few_ticks(ax: Axes, most: int = 5, *, both: bool = False) -> None:
    """Few, round ticks along x, or along both axes, with true minus signs."""
    for axis in (ax.xaxis, ax.yaxis) if both else (ax.xaxis,):
        axis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(_tick))


def _tick(value: float, _position: int | None) -> str:
    return f"{0.0 if abs(value) < 1e-12 else value:.10g}".replace("-", "−")


def limits(values: Sequence[float], pad: float = 0.06) -> tuple[float, float] | None:
    """Axis limits around finite values."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return None
    low, high = float(finite.min()), float(finite.max())
    room = pad * (high - low) or 0.5 * abs(high) or 0.5
    return low - room, high + room


def svg(figure: Figure, prefix: str, label: str = "") -> str:
    """A figure as an SVG element to put into a page.

    Parameters
    ----------
    figure
        Any figure of this package.
    prefix
        Put before every id, so that several figures share a page.
    label
        What a screen reader says.

    Returns
    -------
    str
        The same text for the same figure: no date, no random ids.
    """
    file = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format")))
    return _inline(file.getvalue(), prefix, {"role": "img", "aria-label": label})


def _inline(text: str, prefix: str, attributes: Mapping[str, str]) -> str:
    from xml.sax.saxutils import quoteattr

    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Whitespace between tags says nothing; inside <text> there are no tags.
    text = re.sub(r">\s+<", "><", text)
    # Inside tags only: a label may hold anything.
    text = re.sub(r"<[^<>]+>", lambda tag: _prefixed(tag.group(), prefix), text)
    extra = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return text.replace("<svg", f"<svg{extra}", 1).strip()


def _prefixed(tag: str, prefix: str) -> str:
    tag = tag.replace(' id="', f' id="{prefix}-')
    return re.sub(r'(href="|url\()#', rf"\1#{prefix}-", tag)
