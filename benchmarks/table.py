"""What ``bench_engine.py`` measured, as tables, as a figure and in the documents.

``python benchmarks/table.py`` prints the tables of ``results/engine.json``, draws
``results/engine.png`` and writes what stands between the ``bench`` marks: the README's table of
what was promised, and in ``docs/speed.md`` every system and where the time goes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULT, README = HERE / "results" / "engine.json", HERE.parent / "README.md"
#: Of another machine, and of earlier code: what does not hold on both should be seen.
EARLIER = HERE / "results" / "engine_epyc.json"
SPEED = HERE.parent / "docs" / "speed.md"
FIRST, LAST = "<!-- bench -->", "<!-- /bench -->"
OURS, IDEAL = "bayesmig", "PyMC"
#: In the order in which a run goes through them; `systems` says what each is.
PHASES = ("start", "build", "warm", "draw")
SYSTEMS = (
    OURS, "bayesmig, NUTS", "bayesmig, graph", "PyMC", "nutpie on JAX", "numpyro", "bambi", "Stan"
)  # fmt: skip
#: Ours in one hue, peers in colours that colour-blind eyes tell apart (Okabe and Ito).
COLOURS = ("#0b3d91", "#6f9bd8", "#56b4e9", "#d55e00", "#e69f00", "#cc79a7", "#009e73", "#7f7f7f")
Found = dict[str, Any]


def read(path: Path) -> Found:
    """Results; empty where there are none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(path: Path, record: Found) -> None:
    """Four digits are more than a second run would give again."""
    rounded = json.dumps(_rounded(record), indent=1, sort_keys=True, ensure_ascii=False)
    path.write_text(rounded + "\n", encoding="utf-8")


def keep(path: Path, part: str, found: Found, conditions: Found) -> None:
    """Write a part's results, with what they were made under, in place of older ones."""
    record = read(path)
    for key, value in (("parts", found), ("made", conditions)):
        record[key] = {**record.get(key, {}), part: value}
    write(path, record)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list) else value


def rows(part: str) -> int:
    """``20k`` -> 20,000."""
    number = part.rstrip("kM")
    return int(number) * {"": 1, "k": 1_000, "M": 1_000_000}[part[len(number) :]]


def is_reference(part: str) -> bool:
    return part[:1].isdigit()


# ------------------------------------------------------------------------------- targets


@dataclass(frozen=True)
class Target:
    """One thing promised.

    Attributes
    ----------
    parts
        What it is measured on; it is left out of the table until all are there.
    measure
        From their results to a text and whether the target is reached.
    """

    what: str
    aim: str
    parts: tuple[str, ...]
    measure: Callable[..., tuple[str, bool | None]]


def _rate(peer: str, least: float) -> Callable[[Found], tuple[str, bool | None]]:
    """ESS/s against a peer's."""

    def measure(part: Found) -> tuple[str, bool | None]:
        own, other = (part.get(s, {}).get("ess_per_second") for s in (OURS, peer))
        if not own or not other:
            return _missing(part, peer), None
        return f"{_times(own / other)} ({_number(own)} ÷ {_number(other)})", own / other >= least

    return measure


def _sooner(peer: str, least: float) -> Callable[[Found], tuple[str, bool | None]]:
    """Seconds from process start to 400, against a peer's."""

    def measure(part: Found) -> tuple[str, bool | None]:
        own, other = (part.get(s, {}).get("t400_from_start") for s in (OURS, peer))
        if not own or not other:
            return _missing(part, peer), None
        return f"{_times(other / own)} ({_number(other)} s ÷ {_number(own)} s)", (
            other / own >= least
        )

    return measure


def _missing(part: Found, peer: str) -> str:
    return f"{peer}: {in_words(part[peer])}" if peer in part else f"no {peer} here"


def _within(most: float) -> Callable[[Found], tuple[str, bool | None]]:
    def measure(part: Found) -> tuple[str, bool | None]:
        own = part[OURS].get("t400")
        return (in_words(part[OURS]), None) if own is None else (f"{_number(own)} s", own <= most)

    return measure


def _memory(part: Found) -> tuple[str, bool | None]:
    own = part[OURS]
    if "peak_mb" not in own or "design_mb" not in own:
        return in_words(own), None
    most = 1.5 * own["design_mb"] + 500
    before = f", {own['before_mb']:,.0f} of it before the fit" if own.get("before_mb") else ""
    text = f"{own['peak_mb']:,.0f} MB{before}; allowed {most:,.0f}"
    return text, own["peak_mb"] <= most


def _gradients(most: float) -> Callable[..., tuple[str, bool | None]]:
    def measure(part: Found, normal: Found) -> tuple[str, bool | None]:
        own = part.get("bayesmig, NUTS", {}).get("gradients_per_ess")
        ideal = normal.get("gradients_per_ess")
        if not own or not ideal:
            return "not measured", None
        text = f"{_times(own / ideal)} ({_number(own)} ÷ {_number(ideal)})"
        return text, own / ideal <= most

    return measure


def _kernel(gradient: Found) -> tuple[str, bool | None]:
    each = {k: v["ns_per_row"] for k, v in gradient.items() if "ns_per_row" in v}
    if "bayesmig, single" not in each:
        return "not measured", None
    peers = "; ".join(f"{k} {_number(v)}" for k, v in each.items() if k != "bayesmig, single")
    return f"{_number(each['bayesmig, single'])} ({peers})", each["bayesmig, single"] <= 8


def _indonesia(most: float | None) -> Callable[[Found], tuple[str, bool | None]]:
    def measure(part: Found) -> tuple[str, bool | None]:
        own, peer = part[OURS], part.get("PyMC")
        beside = f". PyMC: {in_words(peer)}" if peer else ""
        if own.get("t400") is None:
            return in_words(own) + beside, False
        r_hat = own.get("r_hat")
        # Weighted draws are independent: there are no chains to compare.
        sound = f"R-hat {r_hat:.3f}" if r_hat else f"Pareto k {own.get('pareto_k', 0):.2f}"
        converged = (r_hat or 1.0) <= 1.01 and own["ess"] >= 400
        reached = converged and (most is None or own["t400"] <= most)
        groups = " in ".join(f"{n:,}" for n in sorted(own.get("groups", {}).values(), reverse=True))
        text = f"{_number(own['t400'])} s, {sound}, ESS {own['ess']:,.0f} ({groups} groups)"
        return text + beside, reached

    return measure


def _prediction(prediction: Found) -> tuple[str, bool | None]:
    seconds, peak = prediction["seconds"], prediction["peak_mb"]
    return f"{_number(seconds)} s, {peak:,.0f} MB beside data and draws", (
        seconds <= 4 and peak <= 500
    )


def _demo(demo: Found) -> tuple[str, bool | None]:
    return f"{_number(demo['second'])} s", demo["second"] <= 60


TARGETS = (
    Target("R(20k), ESS/s ÷ PyMC's", "≥ 200×", ("20k",), _rate("PyMC", 200)),
    Target("R(20k), process start to ESS 400, PyMC's ÷ ours", "≥ 50×", ("20k",),
           _sooner("PyMC", 50)),
    Target("R(2k), ESS/s ÷ PyMC's", "≥ 25×", ("2k",), _rate("PyMC", 25)),
    Target("R(2k), ESS/s ÷ bambi's", "≥ 50×", ("2k",), _rate("bambi", 50)),
    Target("R(200k), t400", "≤ 3 s", ("200k",), _within(3)),
    Target("R(200k), peak memory", "≤ 1.5 × design + 500 MB", ("200k",), _memory),
    Target("R(2M), t400", "≤ 15 s", ("2M",), _within(15)),
    Target("R(2M), peak memory", "≤ 1.5 × design + 500 MB", ("2M",), _memory),
    Target("R(20k), gradients per ESS ÷ i.i.d. normal's", "≤ 1.5×", ("20k", "normal"),
           _gradients(1.5)),
    Target("R(2k), gradients per ESS ÷ i.i.d. normal's", "≤ 2.5×", ("2k", "normal"),
           _gradients(2.5)),
    Target("one gradient, R(200k), one core, ns/row", "≤ 8", ("gradient",), _kernel),
    Target("Indonesia, `networks_unknown`, effects of all kecamatan, t400", "≤ 20 s, R-hat ≤ 1.01",
           ("ifls",), _indonesia(20)),
    Target("Indonesia, the same with households in kecamatan, t400", "converges", ("households",),
           _indonesia(None)),
    Target("4,000 draws × 200k rows × 3 alternatives, shares by group", "≤ 4 s, ≤ 500 MB",
           ("predict",), _prediction),
    Target("`make demo`, second run, into a new folder", "≤ 60 s", ("demo",), _demo),
)  # fmt: skip


# --------------------------------------------------------------------------------- tables


def report(record: Found) -> str:
    """Both tables, in Markdown; empty where nothing was measured."""
    parts = record.get("parts", {})
    if not parts:
        return ""
    blocks = [_systems_table(parts), _targets_table(parts), _phases(parts)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def readme(record: Found, earlier: Found | None = None) -> str:
    """What stands between the README's marks: what was promised, and peers in a line."""
    parts = record.get("parts", {})
    if not parts:
        return ""
    blocks = [_IN_SHORT, _targets_table(parts, earlier), _peers_table(parts)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def page(record: Found, earlier: Found | None = None) -> str:
    """What stands between the marks of the page on speed: every system, and the time."""
    parts = record.get("parts", {})
    if not parts:
        return ""
    before = f"The README's last column{conditions_of(earlier)}." if earlier else ""
    blocks = [caption(record), before, _systems_table(parts), _where(parts)]
    return "\n\n".join(block for block in blocks if block) + "\n"


_IN_SHORT = (
    "Made by `make bench`, two hours or so; R(20k) has 20,000 persons, and t400 are the seconds "
    "until the least effective sample size is 400. [docs/speed.md](docs/speed.md) says under what "
    "each number was made, and where the time and the memory of fits go that missed a target. The "
    "last column is an earlier run, of earlier code on another machine, bold where it missed."
)


_MEANING = (
    "ESS/s of ours are of a fit whose machine code is loaded, as peers have compiled theirs, and "
    "leave out the making of the design; seconds from the start of Python leave out nothing. t400 "
    "is extrapolated: model, compilation and warm-up in full, and sampling at the run's own pace "
    "until the least ESS is 400: least sure where a run fell far short of that or was stopped, and "
    "kindest to those whose fixed part is short; of weighted draws, what precedes them is taken "
    "for draws too. ESS of chains are of rank-normalised split "
    "chains; those of weighted draws are of another estimator, from the spread of their weights."
)


def caption(record: Found) -> str:
    """What the tables were made under, and what they mean."""
    return f"Made by `make bench`{conditions_of(record)}. {_MEANING}"


def conditions_of(record: Found) -> str:
    """What parts were made under: once where they agree, of each where not."""
    parts, made = record["parts"], record.get("made", {})
    groups: dict[str, list[str]] = {}
    for part in sorted(parts, key=_place):
        groups.setdefault(_conditions(made.get(part), record), []).append(part)
    first, *others = sorted(groups.items(), key=lambda of: -len(of[1]))
    if not others:
        return f", {first[0]}"
    told = [f"{', '.join(names)} {words}" for words, names in (first, *others)]
    return f": {'; '.join(told)}"


def _place(part: str) -> tuple[bool, int, str]:
    """Problems by size, then the rest by name."""
    return not is_reference(part), rows(part) if is_reference(part) else 0, part


def _conditions(of: Found | None, last: Found) -> str:
    """In words, of one part; of older ones only what the last of them had is known."""
    known = of or last
    peers = {k: v for k, v in known["versions"].items() if v and k != "bayesmig"}
    versions = ", ".join(f"{name} {version}" for name, version in peers.items())
    machine = f"on {known['cores']} cores ({known['processor']})"
    if of is None:
        said = f"{machine}, {known['chains']} chains, with {versions}"
        return f"in earlier runs, the last of them {said}; their limits and commits were not kept"
    words = [f"on {of['date']}", machine]
    if of.get("commit"):
        words.append(f"at commit {of['commit']}")
    if "chains" in of:
        words.append(f"{of['chains']} chains")
    if "repeats" in of:
        once = of["repeats"] == 1
        words.append("ours once" if once else f"ours the median of {of['repeats']} runs")
    if "limit" in of:
        words.append(f"{of['limit']:,.0f} s a run at most")
    return ", ".join([*words, f"with {versions}"])


def _systems_table(parts: Found) -> str:
    """Systems beside each other, with ratios to ours in the same run."""
    lines = list[str]()
    for part in sorted(filter(is_reference, parts), key=rows):
        found = parts[part]
        if not set(found) - {OURS, "bayesmig, NUTS"}:
            continue
        for system in (s for s in SYSTEMS if s in found):
            cells = [f"R({part})", system, *_cells(found[system], found[OURS])]
            lines.append("| " + " | ".join(cells) + " |")
    if not lines:
        return ""
    heads = (
        "problem", "system", "ESS/s", "ours ÷ theirs", "t400, s", "from process start, s",
        "theirs ÷ ours", "gradients per ESS",
    )  # fmt: skip
    rule = "|---|---|" + "--:|" * (len(heads) - 2)
    return "\n".join(["| " + " | ".join(heads) + " |", rule, *lines])


def _peers_table(parts: Found) -> str:
    """ESS per second, ours as a multiple of each peer's."""
    peers = [s for s in SYSTEMS if not s.startswith(OURS)]
    lines = list[str]()
    for part in sorted(filter(is_reference, parts), key=rows):
        found = parts[part]
        own = found.get(OURS, {}).get("ess_per_second")
        ended = {s: found[s] for s in peers if "unfinished" not in found.get(s, {"unfinished": 1})}
        rates = {s: of["ess_per_second"] for s, of in ended.items() if of.get("ess_per_second")}
        if own and rates:
            cells = [_times(own / rates[s]) if s in rates else "" for s in peers]
            lines.append("| " + " | ".join([f"R({part})", *cells]) + " |")
    if not lines:
        return ""
    head = "| ESS/s, ours ÷ theirs | " + " | ".join(peers) + " |"
    return "\n".join([head, "|---|" + "--:|" * len(peers), *lines])


def _cells(found: Found, own: Found) -> Iterator[str]:
    rate, start = found.get("ess_per_second"), found.get("t400_from_start")
    if not rate or not start or found.get("unfinished"):
        yield in_words(found)
        yield from [""] * 5
        return
    ours = own.get("ess_per_second"), own.get("t400_from_start")
    yield _number(rate)
    yield _times(ours[0] / rate) if ours[0] else ""
    yield _number(found["t400"])
    yield _number(start)
    yield _times(start / ours[1]) if ours[1] else ""
    gradients = found.get("gradients_per_ess")
    yield _number(gradients) if gradients else ""


def _targets_table(parts: Found, earlier: Found | None = None) -> str:
    """What was promised and measured, beside an earlier run where one is given."""
    before = (earlier or {}).get("parts", {})
    lines = list[str]()
    for target in TARGETS:
        measured, of_earlier = (_measured(target, of) for of in (parts, before))
        if measured is None and of_earlier is None:
            continue
        text, reached = measured or ("not run", None)
        cells = [target.what, target.aim, text, _yes(reached) if measured else ""]
        if before:
            known, held = of_earlier or ("", True)
            cells.append(f"**{known}**" if held is False else known)
        lines.append("| " + " | ".join(cells) + " |")
    heads = ["what", "target", "measured", "reached"]
    heads += [f"earlier, on {_processor(earlier)}"] if earlier and before else []
    rule = "|---" * len(heads) + "|"
    return "\n".join(["| " + " | ".join(heads) + " |", rule, *lines]) if lines else ""


def _processor(record: Found) -> str:
    """On which most parts were made."""
    made = [of["processor"] for of in record.get("made", {}).values()]
    return str(record.get("processor") or max(made, key=made.count))


def _measured(target: Target, parts: Found) -> tuple[str, bool | None] | None:
    """A text and whether the target is reached; ``None`` where something was not run."""
    known = set(target.parts) <= set(parts)
    return target.measure(*(parts[p] for p in target.parts)) if known else None


def _where(parts: Found) -> str:
    """Where the time and the memory of a run go whose target was missed."""
    missed = {t.parts[0] for t in TARGETS if (_measured(t, parts) or ("", None))[1] is False}
    runs = {p: parts[p].get(OURS, {}) for p in sorted(missed, key=_place)}
    runs = {p: of for p, of in runs.items() if "draw" in of}
    if not runs:
        return ""
    return "\n\n".join(
        _profile(head, form, runs, of)
        for head, form, of in (
            ("where the time goes, s", "{:,.2f}", _SECONDS),
            ("where the memory goes, MB", "{:,.0f}", _MEGABYTES),
        )
    )


#: Heads of columns -> what stands there of a run.
_SECONDS: dict[str, Callable[[Found], float]] = {
    "Python and imports": lambda of: of["imports"],
    "data": lambda of: of["start"] - of["imports"],
    "design, and modules for it": lambda of: of["build"],
    "expansion or warm-up": lambda of: of["warm"],
    "draws": lambda of: of["draw"],
    "both, in a second fit": lambda of: of["again"],
}
_MEGABYTES: dict[str, Callable[[Found], float]] = {
    "Python and imports": lambda of: of["imports_mb"],
    "the survey, and what reading it left": lambda of: of["before_mb"] - of["imports_mb"],
    "the design": lambda of: of["design_mb"],
    "loops over it, machine code and modules": lambda of: (
        of["peak_mb"] - of["before_mb"] - of["design_mb"]
    ),
    "peak": lambda of: of["peak_mb"],
}


def _profile(
    head: str, form: str, runs: Found, columns: dict[str, Callable[[Found], float]]
) -> str:
    lines = ["| " + " | ".join([head, *columns]) + " |", "|---|" + "--:|" * len(columns)]
    for part, of in runs.items():
        cells = list[str]()
        for value in columns.values():
            try:
                cells.append(form.format(value(of)))
            except (KeyError, TypeError):  # not recorded, or the system does not tell
                cells.append("")
        if any(cells):
            lines.append("| " + " | ".join([_named(part), *cells]) + " |")
    return "\n".join(lines)


def _named(part: str) -> str:
    return f"R({part})" if is_reference(part) else part


def _phases(parts: Found) -> str:
    """Where our seconds go, one line per run: the profile behind what was not reached."""
    lines = list[str]()
    for part in sorted(parts, key=_place):
        found = parts[part]
        for system in (OURS, "bayesmig, NUTS"):
            of = found.get(system, {})
            if "draw" in of:
                phases = ", ".join(f"{k} {of[k]:.2f}" for k in PHASES)
                after = f" ({of['after_draws']:.2f} after the last)" if "after_draws" in of else ""
                lines.append(
                    f"- {part}, {system}: {phases} s{after}; {of['route']}; {of['reason']}"
                )
    return "\n".join(lines)


def _yes(reached: bool | None) -> str:
    return "not known" if reached is None else "yes" if reached else "**no**"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _times(value: float) -> str:
    return f"{_number(value)}×"


def in_words(found: Found) -> str:
    """A run in a few words."""
    if "failed" in found:
        return f"failed ({found['failed']})"
    if "unfinished" in found:
        done = found.get("iterations")
        how_far = f" ({done:,} of {found['of']:,} iterations" if done else ""
        if how_far:
            ess = found.get("ess")
            how_far += f", ESS {ess:,.0f})" if ess else ", no ESS yet)"
        return f"not finished in {found['unfinished']:,.0f} s{how_far}"
    texts = [f"ESS {found['ess']:,.0f}", f"{_number(found['ess_per_second'])} ESS/s"]
    texts += [f"t400 {_number(found['t400'])} s"]
    if "gradients_per_ess" in found:
        texts.append(f"{_number(found['gradients_per_ess'])} gradients per ESS")
    return ", ".join(texts)


def publish() -> None:
    """Write the parts of both documents."""
    record, earlier = read(RESULT), read(EARLIER)
    for path, inside in ((README, readme(record, earlier)), (SPEED, page(record, earlier))):
        text = path.read_text(encoding="utf-8")
        before, rest = text.split(FIRST)
        after = rest.split(LAST)[1]
        path.write_text(f"{before}{between(inside)}{after}", encoding="utf-8")


def between(inside: str) -> str:
    """A part with its marks."""
    return f"{FIRST}\n{inside}{LAST}"


# --------------------------------------------------------------------------------- figure


def draw(record: Found, path: Path) -> None:
    """ESS per second and seconds to 400, by system and number of rows."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    parts = {rows(k): v for k, v in record.get("parts", {}).items() if is_reference(k)}
    if not parts:
        return
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    colours = dict(zip(SYSTEMS, COLOURS, strict=True))
    for axes, key, title in (
        (left, "ess_per_second", "Effective draws per second"),
        (right, "t400_from_start", "Seconds from process start to 400 effective draws"),
    ):
        for system in SYSTEMS:
            _line(axes, parts, system, key, colours[system])
        axes.set(xscale="log", yscale="log", xlabel="persons", title=title)
        axes.set_xticks(sorted(parts), [f"{n:,}" for n in sorted(parts)])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(SYSTEMS), frameon=False)
    figure.savefig(path, dpi=132)
    plt.close(figure)


def _line(axes: Any, parts: dict[int, Found], system: str, key: str, colour: Any) -> None:
    """A system's line, and an arrow where it was stopped before its end."""
    points = {n: parts[n][system] for n in sorted(parts) if system in parts[n]}
    ended = {n: p[key] for n, p in points.items() if key in p and "unfinished" not in p}
    own = system == OURS
    axes.plot(
        list(ended),
        list(ended.values()),
        marker="o",
        markersize=6 if own else 4.5,
        linewidth=2.4 if own else 1.3,
        color=colour,
        label=system,
        zorder=3 if own else 2,
    )
    if key == "t400_from_start":
        stopped = {n: p["unfinished"] for n, p in points.items() if "unfinished" in p}
        last = {n: ended[n] for n in list(ended)[-1:]} | stopped
        axes.plot(list(last), list(last.values()), ":", color=colour, linewidth=1.3)
        axes.plot(list(stopped), list(stopped.values()), "^", color=colour, markersize=8)
        for n, seconds in stopped.items():
            where = {"xytext": (7, 0), "textcoords": "offset points", "va": "center"}
            axes.annotate("not finished", (n, seconds), fontsize=8, color=colour, **where)


def main() -> None:
    """Print, draw, publish."""
    record = read(RESULT)
    print(report(record) or f"nothing measured yet: {RESULT.name} is not there")
    draw(record, RESULT.with_suffix(".png"))
    publish()


if __name__ == "__main__":
    main()
