"""The report of a run: figures as PNG files, and one HTML page that needs nothing beside itself.

The page works from a file, without a network and without JavaScript. Whatever comes from a user's files or words
is escaped; equal material gives equal bytes.
"""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from aeflax.applications.findings import Findings
from aeflax.errors import warn
from aeflax.report import canvas, words
from aeflax.report.applications import SECTIONS
from aeflax.report.figures import FIGURES
from aeflax.report.material import Material
from aeflax.report.sections import Section
from aeflax.rundir.runs import APPLICATIONS, REPORT
from aeflax.rundir.runs import FIGURES as FIGURE_DIRECTORY
from aeflax.storage.durable import replacing


def write(material: Material, directory: Path) -> Path:
    """Writes `figures/*.png` and `report.html` into a directory, and returns the path of the page.

    Figures of an earlier report that no longer apply are deleted. Each file is replaced by an atomic rename.

    Raises:
      OSError: if the directory cannot be written to.
    """
    place = directory / FIGURE_DIRECTORY
    if place.is_symlink():  # a run directory does not lead outside of itself
        place.unlink()
    place.mkdir(parents=True, exist_ok=True)
    shown = []
    for name, draw in FIGURES.items():
        path = place / f"{name}.png"
        figure = draw(material)
        if figure is None:
            path.unlink(missing_ok=True)
            continue
        _put(path, canvas.png(figure))
        shown.append({"name": name, "svg": Markup(canvas.svg(figure, name)), "caption": words.caption(name, material)})
    found = ((name, material.findings[name]) for name in SECTIONS if name in material.findings)
    sections = {name: part for name, findings in found if (part := _section(name, findings)) is not None}
    columns, rows = words.final_table(material)
    return put_page(
        "page.html.jinja",
        directory,
        sections,
        name=material.name,
        sentence=words.sentence(material),
        notes=words.notes(material),
        columns=columns,
        rows=rows,
        pca=words.compared_with_pca(material),
        figures=shown,
        command=material.command,
        settings=words.settings(material.experiment),
        versions=list(material.versions.items()),
        data=words.fingerprint(material.data),
        state=material.summary.get("state_sha256"),
    )


def put_page(template: str, directory: Path, sections: Mapping[str, Section], **content: Any) -> Path:
    """Writes `report.html`, and the figures of its sections also as files in `figures/`; returns the path of the page.

    Args:
      template: its name.
      directory: that the report is written into.
      sections: by their ids, in order.
      **content: what the template shows beside them.
    """
    place = directory / FIGURE_DIRECTORY
    place.mkdir(parents=True, exist_ok=True)
    parts = []
    for name, section in sections.items():
        figures = []
        for stem, (figure, caption) in section.figures.items():
            _put(place / f"{stem}.png", canvas.png(figure))
            figures.append({"name": stem, "svg": Markup(canvas.svg(figure, stem)), "caption": caption})
        parts.append({"name": name, "section": section, "figures": figures})
    page = directory / REPORT
    _put(page, _render(template, sections=parts, **content).encode())
    return page


def fragment(material: Material) -> str:
    """The table and the reconstructions as a piece of HTML, e.g. for `_repr_html_` in a notebook.

    Its style holds for itself alone, and its ids differ from those of other material's fragments.
    """
    columns, rows = words.final_table(material)
    figure = FIGURES["reconstructions"](material)
    drawn = ""
    if figure is not None:
        drawn = canvas.svg(figure, "reconstructions")
        drawn = canvas.svg(figure, f"run-{hashlib.sha256(drawn.encode()).hexdigest()[:8]}")
    return _render(
        "fragment.html.jinja",
        name=material.name,
        sentence=words.sentence(material),
        notes=words.notes(material),
        columns=columns,
        rows=rows,
        pca=words.compared_with_pca(material),
        svg=Markup(drawn),
        caption=words.caption("reconstructions", material),
    )


def _section(name: str, found: Findings) -> Section | None:
    """An application's part of the page; None where its findings are made up or of old."""
    try:
        return SECTIONS[name](found)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        said = f"{APPLICATIONS}/{name} is damaged or of an older version, and is left out; run its command again"
        warn(said)
        return None


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _render(template: str, **content: Any) -> str:
    return _environment().get_template(template).render(content)


def _put(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)
