"""The figures of a report, in the order in which a reader wants them."""

from collections.abc import Mapping

from aeflax.report import curves, grids
from aeflax.report.canvas import Draw

# Each draws a Material, or returns None where it does not apply.
FIGURES: Mapping[str, Draw] = {
    "reconstructions": grids.reconstructions,
    "learning_curves": curves.learning_curves,
    "codes": curves.codes,
    "samples": grids.samples,
    "latent_grid": grids.latent_grid,
    "dictionary": grids.dictionary,
    "filters": grids.filters,
    "errors": curves.errors,
}
