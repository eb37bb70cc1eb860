"""What compiled loops and those who call them agree upon."""

from __future__ import annotations

#: Rows of a block.
BLOCK = 256
#: Of a factor: number of groups; effects of each; starts of epsilon in the vector, of log
#: sigma in theta, of the correlation's free vectors in theta (-1: none), of its effects,
#: of its H, of its B (-1: none), of its C (-1: it lies in no other factor); the factor
#: that it lies in; and how many effects have one scale.
FIELDS = (
    "groups",
    "width",
    "epsilon",
    "log_sigma",
    "correlation",
    "effects",
    "own",
    "cross",
    "links",
    "parent",
    "copies",
)
GROUPS, WIDTH, EPSILON, LOG_SIGMA, CORRELATION, EFFECTS, OWN, CROSS, LINKS, PARENT, COPIES = range(
    len(FIELDS)
)
#: Log odds that count as no further, so that no inverse of a probability is infinite.
FAR = 200.0
