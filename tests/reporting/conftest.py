"""One report for all tests that read it."""

from pathlib import Path

import pytest

from bayesmig.reporting.render import render_report
from tests.reporting.studyfolder import write_study


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a whole made-up study, with its report."""
    folder = write_study(tmp_path_factory.mktemp("study"))
    render_report(folder)
    return folder
