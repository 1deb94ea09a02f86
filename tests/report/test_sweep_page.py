"""The report of a sweep: what it says of members that ended well, diverged or were dropped, and what it draws."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from variants import EXAMPLES, experiment, images

import aeflax
from aeflax.errors import ConfigError
from aeflax.population.sweep import sweep
from aeflax.report import canvas
from aeflax.report import sweep as pages
from aeflax.report.population import _curve, _places, nondominated, pareto_front, ranking
from aeflax.report.sections import Table
from aeflax.storage.document import read_json, write_json

DATA = images(EXAMPLES * 5 // 4)


def page_of(found):
    return (found.path / "report.html").read_text(encoding="utf-8")


def figures_of(found):
    return sorted(path.stem for path in (found.path / "figures").glob("*.png"))


@pytest.mark.slow
def test_members_are_ranked_drawn_and_named(tmp_path):
    settings = experiment("vae", steps=20)
    settings = replace(settings, train=replace(settings.train, eval_every=5))
    grid = {"optimizer.learning_rate": [1e-3, 1e-2], "train.seed": [0, 1]}
    found = sweep(settings, grid, DATA, run_dir=tmp_path / "a <b> name")
    page = page_of(found)
    assert "<h1>a &lt;b&gt; name</h1>" in page
    assert figures_of(found) == ["learning_curves", "parallel_coordinates", "pareto_front"]
    best, other = "learning_rate=0.01", "learning_rate=0.001"
    assert f"on the test split: {best}," in page
    assert page.index(f'<th scope="row">{best}') < page.index(f'<th scope="row">{other}')
    assert "optimizer.learning_rate" in page
    common = page[page.index("What all models have in common") :]
    assert "optimizer.b1" in common
    assert "optimizer.learning_rate" not in common[: common.index("</table>")]
    assert "train.seed" not in common[: common.index("</table>")]
    assert all(f'href="#{name}"' in page and f'id="{name}"' in page for name in ("leaderboard", "all", "made"))
    assert "<script" not in page


@pytest.mark.slow
def test_the_best_is_chosen_on_the_validation_split_wherever_it_is_shown(tmp_path, monkeypatch):
    drawn = []
    curves, lines = pages.learning_curves, pages.parallel_coordinates
    monkeypatch.setattr(pages, "learning_curves", lambda *given: drawn.append(given[2]) or curves(*given))
    monkeypatch.setattr(pages, "parallel_coordinates", lambda *given: drawn.append(given[2]) or lines(*given))
    settings = experiment("vanilla", steps=20)
    settings = replace(settings, data=replace(settings.data, validation=8))
    found = sweep(settings, {"optimizer.learning_rate": [1e-3, 1e-2]}, DATA, run_dir=tmp_path / "sweep")
    held = {one["index"]: one["validation"][found.metric] for one in found.members}
    assert drawn == [held, held]
    assert found.best == min(held, key=held.get)
    page = page_of(found)
    assert page.index(f"members/000{found.best}") < page.index(f"members/000{1 - found.best}")


@pytest.mark.slow
def test_a_finished_sweep_is_loaded_and_its_page_drawn_anew(tmp_path, run):
    found = sweep(experiment("vanilla"), {"train.seed": [0, 1]}, DATA, run_dir=tmp_path / "sweep")
    again = aeflax.load_sweep(tmp_path / "sweep")
    assert again == found
    assert again.load(1).step == found.load(1).step
    page = page_of(found)
    (tmp_path / "sweep" / "report.html").unlink()
    assert run("report", "sweep") == (0, f"{Path('sweep') / 'report.html'}\n", "")
    assert page_of(found) == page
    with pytest.raises(ConfigError, match="holds no sweep"):
        aeflax.load_sweep(tmp_path)
    told = read_json(tmp_path / "sweep" / "sweep.json")
    del told["members"]
    write_json(tmp_path / "sweep" / "sweep.json", told)
    code, _, said = run("report", "sweep")
    assert (code, said) == (2, "aeflax: the sweep in sweep has not come to its end; go on with it first, by --resume\n")


@pytest.mark.slow
def test_a_sweep_without_a_page_has_none(tmp_path):
    found = sweep(experiment("vanilla"), {"train.seed": [0, 1]}, DATA, run_dir=tmp_path / "sweep", report=False)
    assert not (found.path / "report.html").exists()


@pytest.mark.slow
def test_those_that_diverged_are_told_of_and_not_drawn_as_the_best(tmp_path):
    settings = experiment("vanilla")
    settings = replace(settings, train=replace(settings.train, max_nonfinite=2))
    found = sweep(settings, {"optimizer.learning_rate": [1e-3, 1e38]}, DATA, run_dir=tmp_path / "some")
    assert "1 of 2 models diverged and are in no mean: members 1." in page_of(found)
    none = sweep(settings, {"optimizer.learning_rate": [1e37, 1e38]}, DATA, run_dir=tmp_path / "none")
    assert "none of them came to its end" in page_of(none)
    assert "parallel_coordinates" not in figures_of(none)


@pytest.mark.slow
def test_rungs_are_shown(tmp_path):
    settings = experiment("vanilla", steps=20)
    settings = replace(settings, data=replace(settings.data, validation=8))
    grid = {"optimizer.learning_rate": [1e-5, 1e-2]}
    found = sweep(settings, grid, DATA, run_dir=tmp_path / "sweep", halving=True)
    page = page_of(found)
    assert "After step 10, on the validation split" in page
    assert page.index(">stays</td>") < page.rindex(">dropped</td>")
    assert "dropped at 10" in page


def test_what_makes_members_unlike_is_told():
    members = [
        {"index": 0, "status": "done", "settings": {"model.corruption.sigma": 0.1}},
        {"index": 1, "status": "diverged", "settings": {"model.corruption.sigma": 0.2}, "reason": "the loss was nan"},
    ]
    unlike, lost = pages.notes(members, "restored_bce")
    assert unlike.startswith("Each model restores under its own corruption, and a weaker one is easier")
    assert lost == "1 of 2 models diverged and are in no mean: members 1. Of the first: the loss was nan."
    assert pages.notes(members[:1], "bce") == []


def test_the_front_holds_what_nothing_beats():
    points = np.array([[3.0, 1.0], [1.0, 3.0], [2.0, 2.0], [2.0, 2.5], [3.0, 0.5], [4.0, 0.5], [1.0, 4.0]])
    assert nondominated(points) == [1, 2, 4]


@pytest.mark.parametrize("most", [6.0, 60.0, 6e5])
def test_what_spreads_wide_is_drawn_on_powers_that_are_text(most):
    points = [(value, 1 / value) for value in np.geomspace(0.5, most, 5)]
    figure, _ = pareto_front(points, "kl", "mse")
    drawn = canvas.svg(figure, "front")
    assert "mathdefault" not in drawn
    assert figure.axes[0].get_xscale() == "log"
    low, high = figure.axes[0].get_xlim()
    assert 2 <= sum(low <= tick <= high for tick in figure.axes[0].get_xticks()) <= 6


def test_columns_of_words_are_set_as_text():
    odd = "code_1 1.352 (-0.5991); code_6 -2.08 (-0.1897)"
    rows = [["1", "-0.5 ± 1", "done", odd], ["2", "0.317", "lost", "code_2 7 (1)"]]
    table = Table(["row", "score", "state", "why"], rows)
    assert [table.look(column) for column in range(4)] == ["", "", "text", "text prose"]


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([1.0, 2.0, 3.0], [0.0, 0.5, 1.0]),
        ([0.01, 0.1, 1.0], [0.0, 0.5, 1.0]),  # by the logarithm
        ([0.0, 50.0, 100.0], [0.0, 0.5, 1.0]),
        ([3, 3], [0.0, 0.0]),
        (["relu", "tanh"], [0.0, 1.0]),
        ([None, 0.5], [0.0, 1.0]),
        ([True, False], [0.0, 1.0]),
        (["relu"], [0.0]),
    ],
)
def test_values_are_spread_over_their_axis(values, places):
    assert [_places(values)[str(value)] for value in values] == pytest.approx(places)


def test_curves_and_ranks():
    records = [
        {"step": 1, "split": "train", "loss": 3.0},
        {"step": 1, "split": "test", "mse": 0.5},
        {"step": 2, "split": "train", "loss": None},
    ]
    steps, values = _curve(records, "train", "loss")
    assert steps.tolist() == [1, 2]
    assert values[0] == 3.0
    assert np.isnan(values[1])
    assert ranking({0: 1.0, 1: 3.0, 2: 2.0}, "mse") == [0, 2, 1]
    assert ranking({0: 1.0, 1: 3.0, 2: 2.0}, "psnr") == [1, 2, 0]
