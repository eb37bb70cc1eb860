"""Write docs/mechanisms.md, the registry of mechanisms, from the files of models/."""

from pathlib import Path

from bayesmig.spec.mechanisms import mechanisms, mechanisms_page

page = mechanisms_page(mechanisms())
Path(__file__).with_suffix(".md").write_text(page, encoding="utf-8")
