"""What is known of machine code on disk."""

from pathlib import Path

import numba
import pytest

from bayesmig.inference import compiled


def test_the_first_fit_on_a_machine_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert compiled.nothing_compiled()
    [folder] = tmp_path.iterdir()
    (folder / "kernel").mkdir()
    (folder / "kernel" / "loop.nbc").write_bytes(b"")
    assert not compiled.nothing_compiled()
