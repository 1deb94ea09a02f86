"""The section on denoising: words, tables and figures."""

import numpy as np
import pytest

from aeflax.applications.findings import Findings
from aeflax.report import canvas
from aeflax.report.denoising import METHODS, compared, section

LEVELS = {"gaussian": (0.2, 0.4, 0.6), "masking": (0.1, 0.5), "salt-pepper": (0.2,)}


def interval(mean, half=0.1):
    return {"mean": mean, "low": mean - half, "high": mean + half}


def entry(level, *, trained=False, gain=1.0):
    methods = {name: {"psnr": interval(20 - 10 * level), "ssim": interval(0.5)} for name in METHODS}
    methods["model"] = {"psnr": interval(20 - 10 * level + gain), "ssim": interval(0.6)}
    return {"level": level, "trained": trained, "methods": methods, "best": "median", "gain": interval(gain)}


def found(shape=(6, 5, 1), *, trained=(0.4,), gains=None, each=2):
    gains = gains or {}
    kinds = {
        kind: [
            entry(level, trained=kind == "gaussian" and level in trained, gain=gains.get((kind, level), 1.0))
            for level in levels
        ]
        for kind, levels in LEVELS.items()
    }
    values = {
        "split": "test",
        "examples": 500,
        "tuned_on": 32,
        "seed": 0,
        "window": 5,
        "corruption": "gaussian",
        "kinds": kinds,
        "strip": [{"kind": kind, "level": levels[0], "filter": "median"} for kind, levels in LEVELS.items()],
    }
    random = np.random.RandomState(0)
    arrays = {name: random.rand(3, each, *shape).astype(np.float32) for name in ("clean", "noisy", "model", "filter")}
    return Findings("ab", values, arrays)


@pytest.mark.slow
@pytest.mark.parametrize("each", [1, 2])
@pytest.mark.parametrize("shape", [(6, 5, 1), (6, 5, 3), (5, 4, 2), (1, 1, 1)], ids=str)
def test_every_kind_of_image_has_its_figures(shape, each):
    made = section(found(shape, each=each))
    assert list(made.figures) == ["denoising", "denoising_examples"]
    for name, (figure, caption) in made.figures.items():
        assert caption.endswith(".")
        assert canvas.INK not in canvas.svg(figure, name), "figures take the page's colour"


def test_each_kind_has_a_panel_with_a_line_a_method():
    figure, _ = section(found()).figures["denoising"]
    assert len(figure.axes) == len(LEVELS)
    for axes, levels in zip(figure.axes, LEVELS.values(), strict=True):
        lines = {line.get_label(): line for line in axes.get_lines() if line.get_label() in METHODS.values()}
        assert set(lines) == set(METHODS.values())
        np.testing.assert_array_equal(lines["noisy"].get_xdata(), levels)
        np.testing.assert_allclose(lines["this model"].get_ydata(), [21 - 10 * level for level in levels])
        assert lines["noisy"].get_linestyle() == ":"


@pytest.mark.parametrize("trained", [(), (0.4,), (0.2, 0.4)])
def test_the_levels_that_were_trained_on_are_marked(trained):
    figure, _ = section(found(trained=trained)).figures["denoising"]
    marks = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert marks == [["trained"] if trained else [], [], []]
    (axes, *_) = figure.axes
    spans = [patch.get_extents().transformed(axes.transData.inverted()) for patch in axes.patches]
    assert [(round(span.x0, 6), round(span.x1, 6)) for span in spans] == ([trained] if len(trained) == 2 else [])


def test_the_tables_name_what_was_trained_on():
    psnr, ssim = section(found()).tables
    assert psnr.columns == ["noise", *METHODS.values()]
    assert [row[0] for row in psnr.rows] == [
        "Gaussian 0.2",
        "Gaussian 0.4, trained",
        "Gaussian 0.6",
        "masking 0.1",
        "masking 0.5",
        "salt and pepper 0.2",
    ]
    assert psnr.rows[0][1:3] == ["18.00 ± 0.10", "19.00 ± 0.10"]
    assert ssim.rows[0][2] == "0.600 ± 0.100"


def test_the_words_say_where_the_model_wins_and_where_filters_do():
    gains = {("gaussian", 0.2): -2.0, ("masking", 0.1): -3.0, ("masking", 0.5): 0.05}
    text = " ".join(section(found(gains=gains)).sentences)
    assert "chosen for each kind and level by PSNR on 32 training images" in text
    assert "trained on Gaussian 0.4, and never met the others" in text
    assert "restores better than the best of the filters, by PSNR, at Gaussian 0.4, 0.6; salt and pepper 0.2." in text
    assert "best of the filters restores better at Gaussian 0.2; masking 0.1." in text
    assert "spoils more than it restores at Gaussian 0.2; masking 0.1:" in text
    assert "masking 0.5" not in text, "an interval that holds zero is no verdict"


def test_a_model_without_noise_is_said_to_have_met_none():
    text = " ".join(section(found(trained=())).sentences)
    assert "trained on none of these kinds of noise" in text
    assert "spoils" not in text


def test_noisy_examples_are_shown_before_and_after():
    one = {"mean": 0.5, "low": None, "high": None}
    table = compared({"before": {"mse": one, "psnr": one}, "after": {"mse": one, "psnr": interval(12.0)}})
    assert table.rows == [
        ["PSNR, dB ↑", "0.50", "12.00 ± 0.10"],
        ["squared error per feature ↓", "0.50000", "0.50000"],
    ]
