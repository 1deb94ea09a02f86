"""Figures: which apply, what their axes say, and that pictures are the right way up."""

import io
import subprocess
import sys
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.image import imread
from report import examples

from aeflax.report import metrics
from aeflax.report.canvas import COLOURS, png, svg
from aeflax.report.cells import one_per_class
from aeflax.report.figures import FIGURES

ALWAYS = {"reconstructions", "learning_curves", "codes", "errors"}
APPLY = {
    **dict.fromkeys(examples.MATERIALS, ALWAYS),
    **dict.fromkeys(("vae", "vae vector"), ALWAYS | {"samples", "latent_grid"}),
    **dict.fromkeys(("sparse", "sparse vector", "sparse colour"), ALWAYS | {"dictionary"}),
    **dict.fromkeys(("conv", "conv colour", "conv two channels"), ALWAYS | {"filters"}),
    "not finite": {"reconstructions", "learning_curves"},
    "tiny": ALWAYS - {"learning_curves"},
}


def drawn(material):
    return {name: figure for name, draw in FIGURES.items() if (figure := draw(material)) is not None}


def shown(figure):
    """The pixels [H, W, 4] of a figure."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # as saving does: the layout settles in two rounds
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def ticks(axis):
    """The labels of the ticks that are in view."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def colour(figure, axes, column, row, right, up):
    """The colour drawn in a cell, `right` and `up` of its centre by shares of the cell as it is seen."""
    pixels = shown(figure)
    x, y = axes.transData.transform((column, row))
    width, height = np.abs(axes.transData.transform((column + 1, row + 1)) - (x, y))
    return pixels[round(len(pixels) - y - up * height), round(x + right * width)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", examples.MATERIALS)
def test_each_material_gets_the_figures_that_apply(kind):
    figures = drawn(examples.MATERIALS[kind]())
    assert set(figures) == APPLY[kind]
    assert all(figure.get_suptitle() for figure in figures.values())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vae", "sparse", "denoising vector"])
def test_plots_name_their_axes_and_no_text_leaves_the_figure(kind):
    for name, figure in drawn(examples.MATERIALS[kind]()).items():
        shown(figure)
        width, height = figure.get_size_inches() * figure.dpi
        for axes in figure.axes:
            texts = [axes.xaxis.label, axes.yaxis.label, axes.title, *ticks(axes.xaxis), *ticks(axes.yaxis)]
            for text in (text for text in texts if text.get_text()):
                box = text.get_window_extent()
                assert box.x0 > -2, (name, text)
                assert box.x1 < width + 2, (name, text)
                assert box.y0 > -2, (name, text)
                assert box.y1 < height + 2, (name, text)
                assert text.get_fontsize() * 328 / 384 >= 8, "8 points where the page is 360 pixels wide"
        if name in ("codes", "errors", "learning_curves"):
            assert all(axes.get_ylabel() or axes.get_xlabel() for axes in figure.axes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["denoising", "denoising vector", "vae", "sparse", "conv"])
def test_pictures_have_a_margin(kind):
    for name, figure in drawn(examples.MATERIALS[kind]()).items():
        pixels = imread(io.BytesIO(png(figure)), format="png")[:, :, :3]
        assert (pixels[:, [0, 1, -2, -1]] > 0.99).all(), name


def test_an_image_is_right_way_up():
    images = np.zeros((10, 6, 5, 1), np.float32)
    images[:, 0, 0] = 1  # top left
    material = examples.material(count=10, examples=images, inputs=images, reconstructions=1 - images)
    figure = FIGURES["reconstructions"](material)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["original", "reconstruction"]
    assert list(colour(figure, axes, 0, 0, -0.35, 0.35)) == [255] * 4, "the original's top left, in the upper row"
    assert list(colour(figure, axes, 0, 0, -0.35, -0.35)) == [0, 0, 0, 255]
    assert list(colour(figure, axes, 0, 0, 0.35, 0.35)) == [0, 0, 0, 255]
    assert list(colour(figure, axes, 0, 1, -0.35, 0.35)) == [0, 0, 0, 255], "the reconstruction, in the lower row"


def test_the_grid_runs_across_and_up_in_sigmas():
    grid = np.zeros((5, 5, 6, 5, 1), np.float32)
    grid[0, -1, 0] = 1  # lowest in the second dimension, highest in the first; the image's top row
    material = replace(examples.vae(), grid=grid)
    figure = FIGURES["latent_grid"](material)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "code dimension 4 (σ)"
    assert axes.get_ylabel() == "code dimension 1 (σ)"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["−1.5", "−0.8", "0", "+0.8", "+1.5"]
    assert list(colour(figure, axes, 4, 0, 0, 0.37)) == [255] * 4
    low, high = axes.transData.transform([(0, 0), (0, 4)])[:, 1]
    assert low < high, "rows run up"


def test_a_corruption_adds_a_row():
    labels = FIGURES["reconstructions"](examples.denoising()).axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["clean", "corrupted", "restored"]
    legend = FIGURES["reconstructions"](examples.denoising((12,))).legends[0]
    assert {text.get_text() for text in legend.get_texts()} == {"clean", "corrupted", "restored"}


def test_one_example_of_each_class_comes_first():
    order = one_per_class(np.array([2, 2, 0, 0, 1]), 5)
    assert order.tolist() == [2, 4, 0, 1, 3]
    assert one_per_class(np.array([0.5, 0.1]), 2).tolist() == [0, 1], "a quantity has no classes"
    assert one_per_class(None, 2).tolist() == [0, 1]


def test_codes_are_coloured_by_label():
    figure = FIGURES["codes"](examples.material())
    left, right = figure.axes
    assert (left.get_xlabel(), left.get_ylabel()) == ("code dimension 1", "code dimension 2")
    assert right.get_xlabel().startswith("component 1\n(")
    assert right.get_xlabel().endswith("% of variance)")
    (points,) = (part for part in left.collections if len(part.get_offsets()))
    assert tuple(points.get_facecolors()[3]) == to_rgba(COLOURS[3])
    assert sorted(text.get_text() for text in figure.legends[0].get_texts()) == [str(label) for label in range(10)]
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["0", "5"], (
        "columns of two: rows read 0-4"
    )


def test_codes_show_dimensions_that_vary():
    left = FIGURES["codes"](examples.sparse()).axes[0]
    assert (left.get_xlabel(), left.get_ylabel()) == ("code dimension 2", "code dimension 3"), "the first unit is dead"


def test_a_code_of_one_unit_is_a_histogram_of_each_class():
    (axes,) = FIGURES["codes"](examples.material(code=1)).axes
    assert len(axes.patches) == 10
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("code dimension 1", "examples")


def test_learning_curves_show_the_headline_metric_with_its_unit():
    def labels(material):
        return [axes.get_ylabel() for axes in FIGURES["learning_curves"](material).axes]

    assert labels(examples.material()) == ["loss\n(nats)", "bce\n(nats/feature)"]
    assert labels(examples.vae()) == ["loss\n(nats)", "elbo\n(nats)", "reconstruction\n(nats)", "kl\n(nats)"]
    assert labels(examples.sparse()) == ["loss\n(nats)", "bce\n(nats/feature)", "l0\n(units)"]
    assert labels(examples.denoising())[1] == "restored_psnr\n(dB)"


def test_learning_curves_end_at_the_summary_and_mark_the_best_step():
    figure = FIGURES["learning_curves"](examples.vae())
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    assert lines["validation"].get_xdata().tolist() == [100, 200, 400]
    assert lines["validation"].get_ydata().tolist() == [-110.0, -101.0, -100.75]
    assert lines["best"].get_xdata() == [200, 200]
    assert "best" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_learning_curves_survive_what_a_crash_leaves():
    draw, base = FIGURES["learning_curves"], examples.material(summary={})
    assert draw(replace(base, history=[])) is None
    (axes,) = draw(replace(base, history=[{"step": 5, "split": "train", "loss": 3.0}])).axes
    assert axes.lines[0].get_marker() == "o", "a single record is a point"
    values = [float("inf"), 2.0, float("nan"), 1.0]
    history = [{"step": step, "split": "train", "loss": value} for step, value in enumerate(values)]
    assert draw(replace(base, history=history)).axes[0].lines[0].get_ydata().tolist() == [2.0, 1.0]
    assert draw(replace(base, history=[{"step": 1, "split": "train", "loss": float("nan")}])) is None


def test_a_long_curve_is_scaled_to_what_follows_its_plunge():
    history = [{"step": step, "split": "train", "loss": 1e4 if step < 3 else 100 - step} for step in range(90)]
    (axes,) = FIGURES["learning_curves"](examples.material(summary={}, history=history)).axes
    assert axes.get_ylim()[1] < 120


def test_the_dictionary_is_centred_at_zero_and_says_how_much_it_is_used():
    atoms = np.zeros((64, 6, 5, 1), np.float32)
    atoms[0] = 2.0
    figure = FIGURES["dictionary"](replace(examples.sparse(units=64), dictionary=atoms))
    axes, bar = figure.axes
    assert axes.get_yticklabels()[0].get_text() == "90 %"
    assert [label.get_text() for label in bar.get_xticklabels()] == ["−2", "0", "+2"]
    zero = colour(figure, axes, 1, 1, 0, 0)
    assert min(zero[:3]) > 240, "zero is white"
    red = colour(figure, axes, 0, 0, 0, 0)
    assert red[0] > 2 * max(red[1:3]), "what brightens is red"


def test_filters_of_colour_are_each_scaled():
    kernels = np.zeros((2, 3, 3, 3), np.float32)
    kernels[0, ..., 0], kernels[1, ..., 2] = 1e-3, 1e3
    figure = FIGURES["filters"](replace(examples.conv(3), filters=kernels))
    assert list(colour(figure, figure.axes[0], 0, 0, 0, 0)) == [255, 0, 0, 255]
    assert list(colour(figure, figure.axes[0], 1, 0, 0, 0)) == [0, 0, 255, 255]
    assert list(colour(figure, figure.axes[0], 2, 0, 0, 0))[3] == 0, "a cell that is left over is empty"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "names", "said"),
    [
        (3, ("mass", "a very long name", "x"), ["mass", "a very long n…", "x"]),
        (3, None, "feature index"),
        (17, tuple("abcdefghijklmnopq"), "feature index"),
    ],
    ids=["named", "nameless", "many"],
)
def test_features_of_a_table_have_their_names_where_there_is_room(count, names, said):
    material = examples.material((count,), columns=names)
    for name in ("errors", "reconstructions"):
        figure = FIGURES[name](material)
        shown(figure)
        axes = figure.axes[-1]
        found = [tick.get_text() for tick in ticks(axes.xaxis)] if names and count == 3 else axes.get_xlabel()
        assert found == said, name


def test_errors_mark_the_mean_of_pca_where_it_compresses():
    def lines(material):
        return [line.get_label() for line in FIGURES["errors"](material).axes[0].lines]

    material = examples.material()
    assert lines(material)[1] == "mean of PCA(4), 0.0113"
    pca = {**material.summary["pca"], "compresses": False}
    assert len(lines(replace(material, summary={**material.summary, "pca": pca}))) == 1
    assert FIGURES["errors"](material).axes[1].images[0].get_array().shape == (6, 5)


def test_small_errors_carry_their_power_of_ten_in_the_axis():
    base = examples.material()
    near = replace(base, reconstructions=base.examples + np.float32(0.015))
    assert FIGURES["errors"](near).axes[0].get_xlabel() == "mse of an example\n(× 10⁻⁴)"


def test_drawing_neither_changes_nor_heeds_the_settings_of_the_process():
    expected = svg(FIGURES["codes"](examples.material()), "codes")
    with matplotlib.rc_context({"font.size": 30, "text.color": "red", "axes.grid": True}):
        before = dict(matplotlib.rcParams)
        assert svg(FIGURES["codes"](examples.material()), "codes") == expected
        assert dict(matplotlib.rcParams) == before


def test_directions():
    assert [metrics.better(name) for name in ("elbo", "restored_psnr", "bce", "restored_mse")] == [
        "higher",
        "higher",
        "lower",
        "lower",
    ]
    assert [metrics.better(name) for name in ("kl", "l0", "corrupted_psnr")] == [None] * 3


@pytest.mark.slow
def test_the_report_imports_neither_jax_nor_pyplot():
    heavy = ("jax", "matplotlib.pyplot", "sklearn")
    program = f"import sys, aeflax.report.page; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
