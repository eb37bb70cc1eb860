"""Progress of long work, as something to call; shown by rich where people look.

Modules below the command line never print. What takes long accepts a `Progress` and
tells it how far it is; `Bars` shows that on standard error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Anything that can be told how far a piece of work is."""

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        """Say that ``done`` of ``total`` steps of ``task`` are finished."""


def silent(task: str, done: int, total: int, note: str = "") -> None:
    """A `Progress` that says nothing."""


@contextmanager
def bars(show: bool = True) -> Iterator[Progress]:
    """Progress bars on standard error, one line per task, while the context is open."""
    if not show:
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    shown = RichProgress(*columns, console=Console(stderr=True))
    tasks: dict[str, TaskID] = {}

    def tell(task: str, done: int, total: int, note: str = "") -> None:
        # Nothing is drawn before there is something to tell: an error that comes first
        # then stands alone.
        shown.start()
        if task not in tasks:
            tasks[task] = shown.add_task(task, total=total, note=note)
        shown.update(tasks[task], completed=done, total=total, note=note)

    try:
        yield tell
    finally:
        if tasks:
            shown.stop()
