"""A study's folder as one page: no script, no network, the same bytes for the same folder."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from bayesmig.posterior import write_aside
from bayesmig.reporting.blocks import Facts, FigureBlock, Heading, HtmlTable, Prose, Section
from bayesmig.reporting.cautions import cautions, worst
from bayesmig.reporting.findings import findings
from bayesmig.reporting.folder import StudyFolder, read_folder
from bayesmig.reporting.records import REPORT
from bayesmig.reporting.sections import sections

_KINDS = {
    Prose: "prose",
    Heading: "heading",
    Facts: "facts",
    HtmlTable: "table",
    FigureBlock: "figure",
}


def render_report(folder: Path) -> Path:
    """Write ``report.html`` into a study's output folder.

    Parameters
    ----------
    folder
        With ``results.json`` and the tables that it names; the page says of others that
        the study has none.

    Returns
    -------
    Path
        The page: one file that needs nothing else to be read.

    Raises
    ------
    StudyError
        Where results or a table are missing, damaged, or lack columns.
    PosteriorError
        Where the folder cannot be written.
    """
    page = render(read_folder(folder))
    target = folder / REPORT
    write_aside(target, lambda aside: aside.write_text(page, encoding="utf-8"))
    return target


def render(study: StudyFolder) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bayesmig.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["kind"] = lambda block, kind: _KINDS[type(block)] == kind
    found = cautions(study)
    css = files("bayesmig.reporting").joinpath("templates", "report.css").read_text("utf-8")
    parts = sections(study)
    return environment.get_template("report.html").render(
        study=study,
        title=study.results.get("title", "Study"),
        css=Markup(css),
        findings=findings(study),
        cautions=found,
        worst=worst(found),
        sections=parts,
        figures=_count(parts, FigureBlock),
        tables=_count(parts, HtmlTable),
    )


def _count(parts: Sequence[Section], kind: type) -> int:
    return sum(isinstance(block, kind) for part in parts for block in part.blocks)
