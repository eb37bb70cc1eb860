"""Draw docs/demo.png, the README's picture, from what `make demo` left."""

from pathlib import Path

from bayesmig import plots
from bayesmig.reporting.findings import commonest
from bayesmig.reporting.folder import read_folder

HERE = Path(__file__).parent

study = read_folder(HERE.parent / "bayesmig-demo" / "results")
table = study.table("effects", kind="comparison")
figure = plots.effects_plot(
    table[table["alternative"] != commonest(study)],
    alternatives=study.alternatives,
    title="Average differences of the probabilities to move inside the country and abroad",
    interval=study.interval,
    labels=study.labels,
)
figure.savefig(HERE / "demo.png", dpi=132)
