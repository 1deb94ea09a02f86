"""Samples by temperature, ways through a code, nearest neighbours, and what counts as memorising."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr
from variants import BY_VARIANT, SHAPE, experiment, images

import aeflax
from aeflax import presets
from aeflax.applications import generation, latents, neighbours
from aeflax.applications.latents import Dimensions
from aeflax.applications.neighbours import Nearest
from aeflax.config import Data, Dense, Optimizer, Train
from aeflax.data.inputs import Inputs
from aeflax.data.sources import Examples
from aeflax.errors import ConfigError, DataError

ARRAY = images(55)
RANDOM = np.random.RandomState(0)
SHARES = np.linspace(0, 1, 7)


@pytest.fixture(scope="module")
def vae():
    return aeflax.train(experiment("vae", steps=40), ARRAY)


@pytest.fixture(scope="module")
def vanilla():
    return aeflax.train(experiment("vanilla", steps=40), ARRAY)


def test_temperature_multiplies_the_draw_and_one_changes_no_bit(vae):
    drawn = vae.inference.prior(3, 9, seed=5)
    np.testing.assert_array_equal(vae.inference.prior(3, 9, seed=5, temperature=1.0), drawn)
    np.testing.assert_array_equal(vae.inference.prior(3, 9, seed=5, temperature=0.5), drawn / 2)
    cold = vae.inference.sample(3, temperature=0.0)
    np.testing.assert_array_equal(cold, vae.decode(np.zeros((3, 4), np.float32)))


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf"), 1e300])
def test_a_temperature_that_gives_no_codes_is_refused(vae, temperature):
    with pytest.raises(ConfigError, match=r"temperature .* lies outside \[0, "):
        vae.inference.prior(0, 1, temperature=temperature)


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_a_path_begins_and_ends_at_its_codes(path):
    first, second = RANDOM.normal(size=(2, 5)).astype(np.float32)
    found = latents.between(first, second, SHARES, path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[[0, -1]], [first, second])


def test_the_spherical_path_stays_on_the_sphere_and_turns_steadily():
    """Between unit vectors at a right angle: (cos, sin) of equal angles (Shoemake 1985)."""
    found = latents.between(np.float32([2, 0]), np.float32([0, 2]), SHARES, "spherical")
    angles = SHARES * np.pi / 2
    np.testing.assert_allclose(found, 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1), atol=1e-6)


@pytest.mark.parametrize("second", [[2, 4], [-1, -2], [0, 0], [1, 2]], ids=str)
def test_without_an_arc_the_spherical_path_is_linear(second):
    ends = np.float32([1, 2]), np.float32(second)
    found = latents.between(*ends, SHARES, "spherical")
    np.testing.assert_allclose(found, latents.between(*ends, SHARES, "linear"), rtol=1e-6)
    assert np.isfinite(found).all()


def test_the_linear_path_keeps_the_range_of_relu_and_sigmoid_codes_and_the_arc_does_not():
    ends = RANDOM.uniform(0.9, 1, size=(2, 6)).astype(np.float32)
    ends[0, :3] = 0
    straight = latents.between(*ends, SHARES, "linear")
    assert straight.min() >= 0
    assert straight.max() <= 1
    assert latents.between(*ends, SHARES, "spherical").max() > 1


def test_codes_with_a_prior_go_along_the_arc_others_straight(vae, vanilla):
    assert latents.usual_path(vae.inference) == "spherical"
    assert latents.usual_path(vanilla.inference) == "linear"


def test_interpolations_decode_the_path_from_the_one_input_to_the_other(vae):
    inputs = Inputs("x", ARRAY)
    made = list(generation.interpolations(vae.inference, inputs, [(0, 7), (3, 3)], 5, None, picture=False))
    found = {name: np.concatenate([part[name] for part in made]) for name in made[0]}
    ends = vae.encode(ARRAY[[0, 7]])
    expected = vae.decode(latents.between(*ends, np.linspace(0, 1, 5), "spherical"))
    # Batches of another size may sum a product in another order.
    np.testing.assert_allclose(found["interpolation"][:5], expected, rtol=1e-4, atol=1e-2)
    np.testing.assert_array_equal(found["pair"], [0] * 5 + [1] * 5)
    np.testing.assert_array_equal(found["share"], np.tile([0, 0.25, 0.5, 0.75, 1], 2))


def test_a_picture_has_one_row_a_pair(vae):
    inputs = Inputs("x", ARRAY)
    (made,) = generation.interpolations(vae.inference, inputs, [(0, 1), (2, 3)], 5, "linear", picture=True)
    picture = made["interpolation"]
    height, width, _ = SHAPE
    assert picture.shape == (1, 2 * (height + 1) - 1, 5 * (width + 1) - 1, 1)
    expected = vae.decode(vae.encode(ARRAY[[3]]))[0] / 255
    np.testing.assert_allclose(picture[0, height + 1 :, -width:], expected, rtol=1e-4, atol=1e-4)
    assert (picture[0, height] == 1).all()


def test_a_picture_that_is_too_large_is_refused_before_it_is_made(vae):
    with pytest.raises(ConfigError, match=r"1 × 2000000 images of 9 × 7 pixels is too large"):
        list(generation.interpolations(vae.inference, Inputs("x", ARRAY), [(0, 1)], 2_000_000, None, picture=True))


@pytest.mark.parametrize("pair", [(0, 55), (-1, 0)])
def test_an_example_that_is_not_there_is_named(vae, pair):
    wrong = next(index for index in pair if not 0 <= index < 55)
    with pytest.raises(ConfigError, match=f"x has no example {wrong}; its 55 count from 0"):
        list(generation.interpolations(vae.inference, Inputs("x", ARRAY), [pair], 3, None, picture=False))


def test_the_kl_of_the_dimensions_sums_to_the_models(vae):
    found = latents.dimensions(vae.inference, vae.split("test"), span=2.0)
    assert found.measure == "kl"
    # Both are float32 sums over batches, in another order.
    assert found.sizes.sum() == pytest.approx(vae.evaluate("test")["kl"], rel=1e-5)
    assert found.sizes[found.order].tolist() == sorted(found.sizes, reverse=True)
    np.testing.assert_array_equal([found.centre, found.low, found.high], np.outer([0, -2, 2], np.ones(4)))


def test_without_a_prior_the_codes_of_the_test_split_say_what_is_traversed(vanilla):
    found = latents.dimensions(vanilla.inference, vanilla.split("test"))
    codes = vanilla.encode(vanilla.split("test").values)
    assert found.measure == "variance"
    np.testing.assert_allclose(found.sizes, codes.var(axis=0), rtol=1e-4)
    np.testing.assert_allclose(found.centre, codes.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose([found.low, found.high], np.quantile(codes, (0.01, 0.99), axis=0), rtol=1e-4)


def test_a_traversal_changes_one_dimension_at_a_time():
    ends = np.float32([-1, -2, -3]), np.float32([1, 2, 3])
    found = Dimensions("variance", np.array([1.0, 3.0, 2.0]), np.float32([7, 8, 9]), *ends)
    codes, steps = latents.traversal(found, found.order[:2], 3)
    np.testing.assert_array_equal(steps, [[-2, 0, 2], [-3, 0, 3]])
    np.testing.assert_array_equal(codes[0], [[7, -2, 9], [7, 0, 9], [7, 2, 9]])
    np.testing.assert_array_equal(codes[1], [[7, 8, -3], [7, 8, 0], [7, 8, 3]])
    moved, _ = latents.traversal(found, found.order[:1], 3, origin=np.zeros(3))
    np.testing.assert_array_equal(moved[0], [[0, -2, 0], [0, 0, 0], [0, 2, 0]])


def test_a_model_that_diverged_is_no_order_of_dimensions(vae, monkeypatch):
    monkeypatch.setattr(type(vae.inference), "scaled_kl", lambda _, images: np.full((len(images), 4), np.nan))
    with pytest.raises(DataError, match="has diverged"):
        latents.dimensions(vae.inference, vae.split("test"))


def test_the_grid_of_the_prior_has_even_shares_of_it():
    """Kingma & Welling 2014, fig. 4: the inverse distribution function at even steps."""
    codes, sigmas = latents.quantile_grid(10)
    np.testing.assert_allclose(ndtr(sigmas), np.arange(0.05, 1, 0.1), rtol=1e-5)
    np.testing.assert_array_equal(codes[3, 8], [sigmas[8], sigmas[3]])


def test_the_nearest_example_is_the_nearest_across_batches(vae, monkeypatch):
    monkeypatch.setattr("aeflax.evaluation.batches.MAX_BATCH", 1)  # four batches
    scaled = ARRAY.astype(np.float32) / 255
    queries = np.concatenate([scaled[[40, 3]], RANDOM.rand(6, *SHAPE).astype(np.float32)])
    found = neighbours.nearest(vae.inference, queries, Examples(ARRAY))
    flat = [part.reshape(len(part), -1).astype(np.float64) for part in (queries, scaled)]
    each = ((flat[0][:, None] - flat[1][None]) ** 2).mean(axis=2)
    np.testing.assert_array_equal(found.index, each.argmin(axis=1))
    # The square of a float32 distance; inner products leave rounding of 1e-16 between equal rows.
    np.testing.assert_allclose(found.distance, each.min(axis=1), rtol=1e-6, atol=1e-12)


def judged(samples, train, test, held_out):
    def near(queries, examples):
        each = ((queries[:, None] - examples[None]) ** 2).mean(axis=2)
        return Nearest(each.argmin(axis=1), each.min(axis=1))

    counts = len(train), len(test)
    return neighbours.memorisation(near(samples, train), near(samples, test), near(held_out, train), counts)


@pytest.fixture(scope="module")
def normal():
    """800 training and 200 test examples of one distribution, and as many of it for samples."""
    drawn = np.random.RandomState(3).normal(size=(1400, 8))
    return drawn[:800], drawn[800:1000], drawn[1000:]


def test_copies_are_memorised_and_fresh_draws_are_not(normal):
    train, test, fresh = normal
    assert not judged(fresh, train, test, test)["memorises"]
    copies = judged(train[:400] + 0.01, train, test, test)
    assert copies["memorises"]
    assert copies["own"]["share"] == 1.0
    assert copies["expected"] == 0.8


def test_samples_that_are_only_smooth_are_not_memorised():
    """Without the detail of examples they lie nearer to training examples than test examples do, and to these, too."""
    random = np.random.RandomState(4)
    smooth = random.normal(size=(1400, 2)) @ random.normal(size=(2, 50))
    train, test = np.split(smooth[:1000] + 0.3 * random.normal(size=(1000, 50)), [800])
    found = judged(smooth[1000:], train, test, test)
    assert found["median"]["samples"] < found["median"]["test"]
    assert found["below"]["samples"]["low"] > found["below"]["test"]["high"]
    assert (found["nearer"], found["memorises"]) == (True, False)


def test_samples_that_are_near_to_training_but_no_nearer_than_test_examples_are_no_copies(normal):
    train, test, _ = normal
    moved = train[:400] + 0.65 * np.random.RandomState(1).normal(size=(400, 8))
    found = judged(moved, train, test, test)
    assert (found["nearer"], found["favours"], found["memorises"]) == (False, True, False)


def test_samples_that_share_a_neighbour_count_it_once(normal):
    """Or a crowd around one training example would look like a thousand witnesses."""
    train, test, _ = normal
    crowd = train[:1] + 0.001 * RANDOM.normal(size=(400, 8))
    found = judged(crowd, train, test, test)
    assert (found["own"]["examples"], found["favours"]) == (1, False)


def test_samples_unlike_the_data_are_beyond_the_test_examples(normal):
    train, test, fresh = normal
    assert judged(5 * fresh, train, test, test)["beyond"]["low"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_every_variant_has_what_a_report_shows(variant):
    run = aeflax.train(experiment(variant, steps=6), ARRAY)
    values, arrays = generation.judge(run.inference, run._dataset())
    prior = "vae" in variant or variant == "free-bits"
    assert values["prior"] == prior
    assert set(arrays) == {"traversal", "interpolations"} | (
        {"samples", "nearest", "distance", "temperatures"} if prior else set()
    )
    code = run.experiment.model.latent_dim
    assert arrays["traversal"].shape == (1, min(10, code), 9, *SHAPE)
    assert arrays["interpolations"].shape == (1, 3, 2, 9, *SHAPE)
    assert all(np.isfinite(array).all() for array in arrays.values())
    if prior:
        train = run.split("train").values.astype(np.float32) / 255
        own = values["samples"]
        assert (own["training_examples"], own["test_examples"]) == (len(train), 11)
        error = ((arrays["samples"] - arrays["nearest"]) ** 2).mean(axis=(-3, -2, -1))
        np.testing.assert_allclose(arrays["distance"], error, rtol=1e-4)
        assert (np.diff(arrays["distance"][0, 1]) >= 0).all()


@pytest.mark.slow
def test_codes_of_two_dimensions_have_the_grid_of_the_prior():
    run = aeflax.train(replace(experiment("vae", steps=6), model=replace(experiment("vae").model, latent_dim=2)), ARRAY)
    values, arrays = generation.judge(run.inference, run._dataset(), temperature=0.0)
    assert arrays["grid"].shape == (1, 15, 15, *SHAPE)
    assert len(values["grid_sigmas"]) == 15
    assert values["samples"]["below"]["samples"]["examples"] == 1  # at 0 one draw says it all


@pytest.mark.slow
def test_a_model_that_knows_its_examples_by_heart_is_said_to_memorise():
    """60 digits, trained long, against the same model of 1,438."""
    base = presets.vae(16)
    base = replace(
        base, model=replace(base.model, backbone=Dense(widths=(128,))), optimizer=Optimizer(learning_rate=3e-3)
    )
    few = replace(base, data=Data(source="digits", limit=60, batch_size=60), train=Train(steps=4000))
    many = replace(base, data=Data(source="digits"), train=Train(steps=1500))
    found = {}
    for name, settings in (("few", few), ("many", many)):
        run = aeflax.train(settings)
        found[name] = generation.judge(run.inference, run._dataset())[0]["samples"]["memorises"]
    assert found == {"few": True, "many": False}


def test_an_arc_turns_at_a_steady_rate_and_is_never_longer_than_its_ends():
    shares = np.linspace(0, 1, 9)
    for angle in (30, 90, 170, 179.9):
        radians = np.deg2rad(angle)
        first, second = np.array([1.0, 0.0]), 3.0 * np.array([np.cos(radians), np.sin(radians)])
        codes = latents.between(first, second, shares, "spherical")
        lengths = np.linalg.norm(codes, axis=1)
        np.testing.assert_allclose(lengths, 1 + 2 * shares, rtol=1e-5)  # float32
        turned = np.rad2deg(np.arccos(np.clip(codes[:, 0] / lengths, -1, 1)))
        np.testing.assert_allclose(turned, angle * shares, atol=0.1)  # arccos near 0 and 180 degrees, of float32


def test_copies_of_few_examples_are_not_acquitted():
    def near(count, distance):
        return neighbours.Nearest(np.arange(200) % count, np.full(200, distance))

    held_out = neighbours.Nearest(np.arange(200), np.linspace(0.5, 1.0, 200))
    for count, tellable in ((5, False), (50, True)):
        found = neighbours.memorisation(near(count, 1e-6), near(count, 0.7), held_out, (6000, 1000))
        assert found["tellable"] is tellable
        assert found["memorises"] is tellable
        assert found["nearer"]
