"""Which applications have a section, by the name under which their findings are kept."""

from collections.abc import Callable, Mapping

from aeflax.applications.findings import Findings
from aeflax.report import (
    anomaly,
    codes,
    compression,
    denoising,
    generation,
    posterior,
    sparsity,
    trust,
)
from aeflax.report.sections import Section

# In the order of the page.
SECTIONS: Mapping[str, Callable[[Findings], Section]] = {
    "trust": trust.section,
    "posterior": posterior.section,
    "sparsity": sparsity.section,
    "codes": codes.quality,
    "transfer": codes.transfer,
    "finetune": codes.finetune,
    "separation": anomaly.section,
    "anomaly": anomaly.section,
    "denoising": denoising.section,
    "compression": compression.section,
    "generation": generation.section,
}
