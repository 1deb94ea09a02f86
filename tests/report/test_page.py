"""The page: complete, self-contained, escaped, deterministic."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from report import examples

from aeflax.config.experiment import HIGHER_IS_BETTER
from aeflax.report.canvas import INK
from aeflax.report.figures import FIGURES
from aeflax.report.metrics import UNITS, better
from aeflax.report.page import fragment, write
from aeflax.report.words import caption

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Together they have every figure, in both of its forms.
PAGES = ("vae", "vae vector", "sparse", "conv colour", "denoising vector", "continuous labels", "not finite", "tiny")
HOSTILE = "</title><script>alert('x')</script>\"&<b>"


class Reader(HTMLParser):
    """Collects a page's text, tags and attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def values(self, name):
        return [value for key, value in self.attributes if key == name]


def page(material, path):
    return write(material, path).read_text()


@pytest.fixture
def words_alone(monkeypatch):
    """Pages without figures, which take most of a page's time."""
    monkeypatch.setattr("aeflax.report.page.FIGURES", {})


@pytest.fixture
def without_png(monkeypatch):
    monkeypatch.setattr("aeflax.report.canvas.png", lambda figure: b"png")


@pytest.fixture
def undrawn(monkeypatch, without_png):
    monkeypatch.setattr("aeflax.report.canvas.svg", lambda figure, name: "<svg></svg>")


@pytest.mark.slow
@pytest.mark.parametrize("kind", PAGES)
@pytest.mark.usefixtures("without_png")
def test_every_material_has_a_page_that_needs_nothing_beside_itself(kind, tmp_path):
    text = page(examples.MATERIALS[kind](), tmp_path)
    outside = re.sub(r'xmlns(:xlink)?="http://www\.w3\.org/[^"]*"', "", text)
    assert not re.search(r"https?:|//[a-z]|@import|<script|<link|<base|src=", re.sub('base64,[^"]*', "", outside))
    read = Reader(text)
    ids = read.values("id")
    assert len(ids) == len(set(ids))
    targets = re.findall(r"url\(#([^)]+)\)", text) + re.findall(r'href="#([^"]+)"', text)
    assert set(targets) <= set(ids)
    assert INK not in text, "figures take the page's colour"
    assert text.count("<style") == 1, "figures bring no style that would hold for the page"
    for drawing in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL):
        ElementTree.fromstring(drawing)


@pytest.mark.slow
@pytest.mark.usefixtures("without_png")
def test_the_page_has_its_parts_in_order(tmp_path):
    text = Reader(page(examples.vae(), tmp_path)).text
    parts = (
        "vae",
        "A variational autoencoder on digits",
        "Metrics",
        "PCA(4) test",
        "Each column is one test example",
        "A lower loss is better, but a higher elbo",
        "Train it again",
        "aeflax train vanilla --data.source digits",
        "Configuration",
        "optimizer.learning-rate",
        "SHA-256 cd34",
        "3.11.9",
    )
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


@pytest.mark.usefixtures("words_alone")
def test_the_sentence_says_what_was_trained(tmp_path):
    base = examples.material()
    model = {
        **base.experiment["model"],
        "backbone": {"kind": "conv"},
        "corruption": {"kind": "gaussian"},
        "bottleneck": {"kind": "posterior"},
    }
    text = Reader(page(replace(base, experiment={**base.experiment, "model": model}), tmp_path)).text
    assert (
        "A denoising convolutional variational autoencoder on digits: 6 × 5 × 1 features to a code of 4, "
        "2,128 parameters; trained for 400 steps in 1.2 s at 376,097 images/s."
    ) in text


@pytest.mark.usefixtures("words_alone")
def test_the_table_has_five_digits_units_and_directions(tmp_path):
    text = Reader(page(examples.material(), tmp_path)).text
    assert "metric train test PCA(4) test" in text
    assert "bce ↓ nats/feature 0.2487 0.25076 –" in text
    assert "psnr ↑ dB 21.104 20.856 19.834" in text


@pytest.mark.usefixtures("words_alone")
def test_pca_without_compression_says_so(tmp_path):
    base = examples.material()
    pca = {**base.summary["pca"], "compresses": False}
    alone = replace(base, summary={**base.summary, "pca": pca})
    text = page(alone, tmp_path)
    note = "PCA(4) would keep every feature: the code is no smaller than the data."
    assert note in text
    assert "PCA" not in text.replace(note, "")
    assert caption("errors", alone).startswith(
        "Left: how the error spreads over examples, with the model's mean; lower"
    )
    assert "PCA is the best linear model" in page(base, tmp_path)
    assert "with the means of the model and of PCA at the same code size; lower" in caption("errors", base)


@pytest.mark.usefixtures("undrawn")
def test_metrics_of_posterior_samples_are_told_from_figures_of_its_mean(tmp_path):
    text = Reader(page(examples.vae(), tmp_path)).text
    assert "Metrics are with one posterior sample an example; reconstruct uses the posterior's mean." in text
    for name, said in (
        ("reconstructions", "The code is the posterior's mean."),
        ("learning_curves", "With one posterior sample an example."),
        ("errors", "These are errors of the posterior's mean; the table's are of one posterior sample an example."),
    ):
        assert caption(name, examples.vae()).endswith(said)
        assert said in text
    assert "posterior" not in Reader(page(examples.material(), tmp_path)).text


@pytest.mark.usefixtures("words_alone")
def test_fields_are_named_as_on_the_command_line(tmp_path):
    text = Reader(page(examples.material(), tmp_path)).text
    assert "model.backbone dense model.backbone.widths 400 200" in text
    assert "model.penalties.l1 none model.penalties.kl.beta 0.5" in text
    assert "optimizer.learning-rate 0.001" in text


@pytest.mark.usefixtures("words_alone")
def test_an_unfinished_run_is_called_so(tmp_path):
    text = Reader(page(examples.material(summary={}), tmp_path)).text
    assert "This run is not finished" in text
    assert "Metrics" not in text


def test_which_way_is_better_is_one_table_for_monitors_and_readers():
    assert {metric for metric in UNITS if better(metric) == "higher"} == set(HIGHER_IS_BETTER)
    lower = {"loss", "bce", "mse", "restored_bce", "restored_mse", "reconstruction_nats"}
    assert {metric for metric in UNITS if better(metric) == "lower"} == lower


@pytest.mark.usefixtures("words_alone")
def test_how_a_run_ended_is_told(tmp_path):
    base = examples.vae()
    text = Reader(page(replace(base, summary={**base.summary, "skipped_updates": 3}), tmp_path)).text
    assert "Best validation elbo -101 at step 200 (--step best)." in text
    assert "stopped early" in text
    assert "3 updates were skipped" in text


@pytest.mark.slow
def test_whatever_a_user_wrote_is_escaped(tmp_path):
    base = examples.material()
    hostile = replace(
        base,
        name=HOSTILE,
        command=HOSTILE,
        data={"source": HOSTILE, HOSTILE: {"shape": [1], "dtype": HOSTILE}},
        versions={HOSTILE: HOSTILE},
        experiment={**base.experiment, HOSTILE: {HOSTILE: [HOSTILE]}},
        summary={**base.summary, "test": {HOSTILE: 1.0}, "state_sha256": HOSTILE},
    )
    for text in (page(hostile, tmp_path), fragment(hostile)):
        assert "<script" not in text
        assert "<b>" not in text
        assert HOSTILE in "".join(Reader(text).words)


@pytest.mark.slow
def test_equal_material_gives_equal_files(tmp_path):
    for name in ("first", "second"):
        write(examples.conv(), tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*"))
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_figures_that_no_longer_apply_are_deleted_and_nothing_else(tmp_path):
    write(examples.vae(), tmp_path)
    (tmp_path / "figures" / "mine.png").write_bytes(b"mine")
    write(examples.sparse(), tmp_path)
    kept = {path.name for path in (tmp_path / "figures").iterdir()}
    assert kept == {
        "reconstructions.png",
        "learning_curves.png",
        "codes.png",
        "errors.png",
        "dictionary.png",
        "mine.png",
    }
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["report.html"]


@pytest.mark.usefixtures("undrawn")
def test_a_report_that_cannot_be_written_leaves_the_last_one(tmp_path, monkeypatch):
    last = page(examples.material(), tmp_path)
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write(examples.vae(), tmp_path)
    assert (tmp_path / "report.html").read_text() == last
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.slow
def test_a_fragment_keeps_to_itself():
    text = fragment(examples.material())
    style = text[text.index("<style>") + 7 : text.index("</style>")]
    selectors = re.findall(r"([^{}]+)\{[^}]*\}", style)
    assert all(part.strip().startswith(".aeflax-run") for rule in selectors for part in rule.split(","))
    assert "bce" in text
    assert "<svg" in text
    other = set(Reader(fragment(examples.vae((6, 6, 1)))).values("id"))
    assert not other & set(Reader(text).values("id")), "two fragments share a notebook"


def test_a_fragment_of_an_unfinished_run_has_no_table():
    assert "<table" not in fragment(examples.material(summary={}))


@pytest.mark.slow
@pytest.mark.usefixtures("without_png")
def test_figures_say_what_they_are_to_who_cannot_see_them(tmp_path):
    labels = Reader(page(examples.material(), tmp_path)).values("aria-label")
    assert "Test examples and reconstructions" in labels
    assert len(labels) == 1 + sum(draw(examples.material()) is not None for draw in FIGURES.values())


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_shows_the_page_without_a_word(tmp_path):
    write(examples.vae(), tmp_path)
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    address = (tmp_path / "report.html").as_uri()
    command = [CHROMIUM, *options, profile, "--dump-dom", address]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert '<h2 id="metrics">Metrics</h2>' in result.stdout
    assert "CONSOLE" not in result.stderr
