"""Codes as bytes and back: integers, containers, steps and rates; what is damaged is refused."""

import hashlib
import json
import struct
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest
from variants import BY_VARIANT, experiment, images

import aeflax
from aeflax import presets
from aeflax.applications import codecs
from aeflax.applications.compression import container, entropy, packing, rates
from aeflax.applications.compression.quantization import coarsest, quantise, restore, steps
from aeflax.config import Data, GaussianLikelihood, Train
from aeflax.data.dataset import load
from aeflax.data.inputs import Inputs
from aeflax.errors import ConfigError, DataError
from aeflax.rundir.checkpoint import state_sha256

DIGEST = "ab" * 32
EXTREMES = np.array([[-(2**30), 2**30], [0, -1], [2**30, 5]], np.int32)


def integers(name):
    """Integers [N, K] of a kind."""
    random = np.random.RandomState(0)
    normal = np.rint(random.normal(size=(400, 6)) * [0.3, 1, 3, 10, 30, 0]).astype(np.int32)
    outlying = normal.copy()
    outlying[::97, 1] = random.randint(-(2**30), 2**30, 5)
    return {
        "normal": normal,
        "sparse": normal * (random.rand(400, 6) < 0.05),
        "outliers": outlying,
        "all different": random.randint(-(2**30), 2**30, (entropy.MAX_LEVELS + 900, 2)).astype(np.int32),
        "all zero": np.zeros((300, 5), np.int32),
        "each column its value": np.tile(np.array([-7, 0, 2**20], np.int32), (50, 1)),
        "one example": normal[:1],
        "one column": normal[:, 2:3],
        "one integer": np.array([[-3]], np.int32),
        "extremes": EXTREMES,
    }[name]


KINDS = (
    "normal",
    "sparse",
    "outliers",
    "all different",
    "all zero",
    "each column its value",
    "one example",
    "one column",
    "one integer",
    "extremes",
)


def packed(symbols, **changes):
    facts = {"state_sha256": DIGEST, "shape": (8, 8, 1), "dtype": "uint8", "step_size": 0.25}
    return container.pack(symbols, **{**facts, **changes})


def resealed(data, header=None, version=container.VERSION, body=None):
    """The container with some fields of its header changed, and a checksum that says that it is so."""
    _, _, length = struct.unpack_from("<8sHI", data)
    fields = json.loads(data[14 : 14 + length]) | (header if isinstance(header, dict) else {})
    text = header if isinstance(header, bytes) else json.dumps(fields).encode()
    rest = data[14 + length : -32] if body is None else body
    content = struct.pack("<8sHI", container.MAGIC, version, len(text)) + text + rest
    return content + hashlib.sha256(content).digest()


@pytest.mark.parametrize("kind", KINDS)
def test_integers_come_back_equal(kind):
    symbols = integers(kind)
    found = container.unpack(packed(symbols), "x.aez")
    np.testing.assert_array_equal(found.symbols(), symbols)
    assert found.symbols().dtype == np.int32
    assert packed(symbols) == packed(symbols.copy(order="F")), "equal integers give equal bytes"


def reference_decoded(data):
    """The integers of a container by docs/container.md alone: Python's integers, without constriction and floats."""
    _, _, length = struct.unpack_from("<8sHI", data)
    header = json.loads(data[14 : 14 + length])
    start = 14 + length
    raw = zlib.decompress(data[start : start + header["table_bytes"]])
    number = len(raw) // 4
    numbers = [
        int.from_bytes(bytes(raw[plane * number + i] for plane in range(4)), "little", signed=True)
        for i in range(number)
    ]
    taken = iter(numbers)
    width = header["code_size"]
    of = [next(taken) for _ in range(width)]
    sizes = [next(taken) for _ in range(header["tables"])]
    levels = []
    for size in sizes:
        level, own = 0, []
        for _ in range(size):
            level += next(taken)
            own.append(level)
        levels.append(own)
    frequencies = [[next(taken) for _ in range(size + 1)] for size in sizes]
    assert all(sum(table) == 2**16 for table in frequencies)
    start += header["table_bytes"]
    outliers = [x for (x,) in struct.iter_unpack("<i", data[start : start + 4 * header["outliers"]])]
    start += 4 * header["outliers"]
    words = [x for (x,) in struct.iter_unpack("<I", data[start : start + 4 * header["words"]])]
    state = 0
    while state < 2**32 and words:
        state = state << 32 | words.pop()
    columns = []
    for table in of:
        column = []
        for _ in range(header["count"]):
            place, below = 0, 0
            if len([share for share in frequencies[table] if share]) > 1:
                slot = state % 2**24
                while below + frequencies[table][place] * 2**8 <= slot:
                    below += frequencies[table][place] * 2**8
                    place += 1
                state = (state >> 24) * frequencies[table][place] * 2**8 + slot - below
                if state < 2**32 and words:
                    state = state << 32 | words.pop()
            column.append(levels[table][place] if place < sizes[table] else outliers.pop(0))
        columns.append(column)
    assert not state
    assert not words
    assert not outliers
    return np.array(columns).T


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "all different"])
def test_a_decoder_of_integers_alone_gives_the_same(kind):
    """So constriction uses the frequencies exactly, and no float of any machine decides an integer."""
    np.testing.assert_array_equal(reference_decoded(packed(integers(kind))), integers(kind))


@pytest.mark.parametrize("scale", [0.5, 2.0, 8.0, 30.0])
def test_the_rate_is_near_the_entropy(scale):
    """Frequencies of 16 bits cost what they round off and the 1 that each integer gets: under 0.5 % here.

    64 bits are the coder's last state. Tables are of all integers that occur, about 3 bytes each at most.
    """
    symbols = np.rint(np.random.RandomState(0).normal(size=(20_000, 3)) * [scale, 4 * scale, scale / 3]).astype(
        np.int32
    )
    header = container.unpack(packed(symbols), "x.aez").header
    entropies, levels = 0.0, 0
    for column in symbols.T:
        often = np.unique(column, return_counts=True)[1]
        levels += len(often)
        entropies -= float(np.sum(often * np.log2(often / often.sum())))
    assert entropies <= 8 * (header.payload_bytes + header.table_bytes)
    assert 8 * header.payload_bytes <= 1.005 * entropies + 64
    assert header.table_bytes <= 60 + 3 * levels


def test_columns_that_never_vary_cost_nothing():
    varying = integers("normal")[:, :5]
    constant = np.tile(np.zeros(100, np.int32), (400, 1))
    alone, beside = (container.unpack(packed(each), "x").header for each in (varying, np.hstack([varying, constant])))
    assert beside.payload_bytes == alone.payload_bytes
    assert beside.table_bytes - alone.table_bytes < 20  # of 100 columns, which table is theirs
    assert container.unpack(packed(integers("all zero")), "x").header.payload_bytes == 0


def test_few_examples_share_tables():
    """A table for each column would take more than its integers."""
    few = integers("normal")[:12, [2, 2, 2, 2, 2]]
    assert container.unpack(packed(few), "x").header.tables == 1


def test_frequencies_sum_to_a_power_of_two_and_leave_out_nothing():
    for counts in ([1], [1, 1, 1], [10**9, 1], list(range(1, entropy.MAX_LEVELS + 2)), [3] * 7):
        found = entropy._frequencies(np.array(counts))
        assert found.sum() == entropy.TOTAL
        assert found.min() >= 1


def test_a_flipped_bit_anywhere_is_refused():
    data = packed(integers("outliers")[:60])
    for place in range(len(data)):
        for bit in (1, 128):
            damaged = bytearray(data)
            damaged[place] ^= bit
            with pytest.raises(DataError, match=r"x\.aez (is damaged \(its SHA-256 differs\)|is no container)"):
                container.unpack(bytes(damaged), "x.aez")


def test_a_container_cut_or_lengthened_anywhere_is_refused():
    data = packed(integers("outliers")[:60])
    for end in range(len(data)):
        with pytest.raises(DataError, match=r"x\.aez is (damaged|no container)"):
            container.unpack(data[:end], "x.aez")
    with pytest.raises(DataError, match="SHA-256 differs"):
        container.unpack(data + b"\0", "x.aez")


def test_a_format_to_come_is_said_to_be_one():
    with pytest.raises(
        DataError, match=r"x\.aez has version 7 of the format, and this aeflax reads 1; install a newer"
    ):
        container.unpack(resealed(packed(integers("normal")), version=7), "x.aez")
    with pytest.raises(DataError, match="version 0 of the format"):
        container.unpack(resealed(packed(integers("normal")), version=0), "x.aez")


FALSE = {
    "aeflax": (3, None, "1" * 100),
    "state_sha256": ("", "AB" * 32, 5),
    "shape": ([], [0, 1, 1], [8, 8], [8.0, 8, 1], "8", [2**50], None),
    "dtype": ("object", "float64", None, []),
    "count": (0, -1, 1.5, True, 2**70, "400", 399, 401),
    "code_size": (0, -1, None, 2**70, 5, 7),
    "step_size": (0, -1.0, float("nan"), float("inf"), "1", None),
    "tables": (0, -1, 7, 2**60, 1),
    "table_bytes": (0, -5, 2**60, 3),
    "outliers": (-1, 2**60, 1),
    "words": (-1, 2**60, 0),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in FALSE.items() for value in values])
def test_a_header_that_none_has_is_refused(name, value):
    with pytest.raises(DataError, match=r"x\.aez is damaged"):
        container.unpack(resealed(packed(integers("normal")), {name: value}), "x.aez").symbols()


@pytest.mark.parametrize(
    "header", [b"", b"[]", b"{}", b"\xff", b"[" * 60_000, b"9" * 9_000, b'{"count": 1', b" " * 70_000]
)
def test_a_header_that_is_none_is_refused(header):
    with pytest.raises(DataError, match=r"x\.aez is damaged"):
        container.unpack(resealed(packed(integers("normal")), header), "x.aez")


def test_random_bytes_with_a_sound_checksum_never_raise_anything_else():
    """Of each part in turn, as somebody would make them who wants to break the reader."""
    data, random = packed(integers("outliers")), np.random.RandomState(0)
    header = container.unpack(data, "x").header
    body = data[14 + struct.unpack_from("<8sHI", data)[2] : -32]
    refused = 0
    for trial in range(600):
        changed = bytearray(body)
        first, size = (0, header.table_bytes) if trial % 2 else (header.table_bytes, header.payload_bytes)
        changed[first + random.randint(size)] ^= 1 << random.randint(8)
        try:
            container.unpack(resealed(data, body=bytes(changed)), "x").symbols()
        except DataError:
            refused += 1
    assert refused > 300  # a word that differs may decode to other integers, which only the checksum tells


def test_a_table_that_inflates_without_end_is_refused():
    bomb = zlib.compress(bytes(2**26), 9)
    data = resealed(
        packed(integers("all zero")), {"table_bytes": len(bomb), "words": 0, "outliers": 0, "tables": 1}, body=bomb
    )
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="its tables have another length"):
            container.unpack(data, "x.aez").symbols()
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_a_small_container_of_many_examples_is_refused():
    """Its integers would fill memory, and its examples the disk."""
    data = resealed(packed(integers("all zero")), {"count": 2**36})
    with pytest.raises(DataError, match="are more than a container of its size may hold"):
        container.unpack(data, "x.aez")


def test_a_container_of_another_model_names_both_digests():
    found = container.unpack(packed(integers("normal")), "x.aez")
    with pytest.raises(DataError, match=f"of the digest {DIGEST}, and this one's is {'cd' * 32}"):
        found.require("cd" * 32, found.header.shape, 6)
    for shape, code_size in (((63,), 6), (found.header.shape, 7), ((4, 16, 1), 6)):
        with pytest.raises(DataError, match="its shapes are not those of its model"):
            found.require(DIGEST, shape, code_size)
    found.require(DIGEST, found.header.shape, 6)
    flat = container.unpack(packed(integers("normal"), shape=(64,)), "x.aez")
    flat.require(DIGEST, (8, 8, 1), 6)  # as rows of a table give it


def test_quantised_codes_are_within_half_a_step_and_zeros_stay():
    codes = np.random.RandomState(0).normal(size=(50, 4)).astype(np.float32)
    codes[::3] = 0
    for step_size in (1e-3, 0.1, 3.0):
        again = restore(quantise(codes, step_size), step_size)
        assert np.abs(again - codes).max() <= step_size / 2 + 1e-6  # of float32, for codes up to 4
        assert not again[::3].any()


def test_a_step_too_small_for_the_codes_is_refused():
    with pytest.raises(ConfigError, match="step size of 1e-12 is too small for these codes; take at least"):
        quantise(np.ones((2, 2), np.float32), 1e-12)
    quantise(np.ones((2, 2), np.float32), 1.9e-9)  # as the message says


def test_the_coarsest_step_that_suffices_is_found():
    choices = steps(np.array([[0.5, -2.0]], np.float32))
    assert choices[0] == 4.0
    assert choices[8] == 2.0
    for place in (0, 1, 50, len(choices) - 1):
        assert coarsest(lambda step, place=place: step <= choices[place], choices) == place
    assert coarsest(lambda step: step < 1.0 or 2.5 < step < 3.0, choices) == 4  # not all that are finer suffice
    assert coarsest(lambda step: False, choices) is None


@pytest.fixture(scope="module")
def run():
    """A vanilla model of random images."""
    return aeflax.train(experiment("vanilla", steps=30), images(55))


@pytest.fixture(scope="module")
def digits():
    """A vanilla model of digits that has learnt something."""
    return aeflax.train(replace(presets.vanilla(8), train=Train(steps=600)), "digits")


def compressed(run, values, **how):
    return packing.compress(run.inference, Inputs("x", values), state_sha256(run.state), **how)


def decompressed(run, found):
    opened = container.unpack(found.data, "x.aez")
    return np.concatenate([part["reconstruction"] for part in packing.decompress(run.inference, opened)])


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_every_variant_comes_back_as_the_decoder_of_its_quantised_codes(variant):
    values = images(55)
    run = aeflax.train(experiment(variant, steps=30), values)
    found = compressed(run, values)
    assert found.data == compressed(run, values).data
    symbols = quantise(run.encode(values), found.step_size)
    np.testing.assert_array_equal(container.unpack(found.data, "x").symbols(), symbols)
    np.testing.assert_allclose(
        decompressed(run, found), run.decode(restore(symbols, found.step_size)).reshape(values.shape), atol=1e-4
    )  # batches of another size, in units of 255
    assert found.loss <= packing.LOSS
    assert found.psnr == pytest.approx(found.unquantised_psnr - found.loss)
    assert found.bits_per_pixel == 8 * len(found.data) / (55 * 63)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "floats"),
    [
        ((12,), True),
        ((12,), False),
        ((6, 5), False),
        ((9, 7, 1), True),
        ((5, 8, 3), False),
        ((4, 4, 2), True),
        ((3, 10, 5), False),
        ((1, 1, 1), False),
    ],
)
def test_every_shape_and_channel_count_comes_back(shape, floats):
    values = images(40, shape)
    if floats:
        values = values.astype(np.float32) / 255
    run = aeflax.train(replace(presets.vanilla(3), train=Train(steps=5)), values)
    as_read = values[..., None] if len(shape) == 2 else values
    found = compressed(run, as_read, step_size=0.05)
    back = decompressed(run, found)
    assert back.shape == as_read.shape
    assert back.dtype == np.float32
    expected = run.decode(restore(quantise(run.encode(values), 0.05), 0.05)).reshape(back.shape)
    np.testing.assert_allclose(back, expected, atol=1e-4)
    assert container.unpack(found.data, "x").header.dtype == ("float32" if floats else "uint8")


def test_floats_given_to_a_run_of_bytes_come_back_as_floats(run):
    values = images(20)
    back = decompressed(run, compressed(run, values.astype(np.float32) / 255, step_size=0.01))
    assert back.max() <= 1.0
    np.testing.assert_allclose(back, decompressed(run, compressed(run, values, step_size=0.01)) / 255, atol=1e-5)


@pytest.mark.slow
def test_data_of_any_range_have_a_step_and_no_psnr():
    base = presets.vanilla(2)
    random = np.random.RandomState(0)  # of rank 2: codes are worth something, and so is their step
    table = (50 + 20 * random.normal(size=(80, 2)) @ random.normal(size=(2, 5))).astype(np.float32)
    model = replace(base.model, likelihood=GaussianLikelihood())
    run = aeflax.train(
        replace(base, model=model, data=Data(scale="standard", batch_size=16), train=Train(steps=400)), table
    )
    found = compressed(run, table)
    assert found.psnr is None
    assert found.loss <= packing.LOSS
    np.testing.assert_allclose(decompressed(run, found), run.reconstruct(table), atol=15)  # of a spread of 20
    with pytest.raises(ConfigError, match=r"a PSNR with peak 1 needs data in \[0, 1\]"):
        compressed(run, table, psnr=20)
    far = compressed(run, table * np.float32(1e20))  # squared errors are beyond float32
    json.dumps(far.values() | {"state": DIGEST}, allow_nan=False)


@pytest.mark.slow
def test_a_quality_is_reached_by_the_coarsest_step(digits, monkeypatch):
    monkeypatch.setattr(packing, "SOUGHT", 40)  # so that the sample's step may fail for all
    values = np.asarray(digits.split("test").values)
    plain = compressed(digits, values)
    assert 0 < plain.loss <= packing.LOSS
    most = plain.unquantised_psnr
    sizes = []
    for psnr in (most - 3.0, most - 1.0, most - 0.2):
        found = compressed(digits, values, psnr=psnr)
        # An eighth of an octave is 0.75 dB of a quantiser's own error, and the sample's step may be one off.
        assert psnr <= found.psnr < psnr + 1.5
        sizes.append(len(found.data))
    assert sizes == sorted(sizes)
    assert len(plain.data) > sizes[1]
    with pytest.raises(ConfigError, match=r"is beyond this model, which reaches .* dB on x without quantisation"):
        compressed(digits, values, psnr=most + 5)


def test_what_cannot_be_is_refused(run):
    for how, message in (
        ({"step_size": 0.0}, "step size of 0 cannot be"),
        ({"step_size": float("nan")}, "step size of nan cannot be"),
        ({"psnr": -3.0}, "PSNR of -3 dB cannot be sought"),
        ({"step_size": 1.0, "psnr": 3.0}, "exclude each other"),
    ):
        with pytest.raises(ConfigError, match=message):
            compressed(run, images(5), **how)
    with pytest.raises(DataError, match="x is empty"):
        compressed(run, images(0), step_size=1.0)


def test_codes_that_are_all_one_value_take_a_header_alone(run):
    found = compressed(run, images(55), step_size=1e6)
    assert found.payload_bytes == 0
    assert decompressed(run, found).shape == (55, 9, 7, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", codecs.LAYOUTS)
def test_lossless_codecs_give_every_image_back(channels, layout, monkeypatch):
    monkeypatch.setattr(codecs, "MAX_SIDE", 25)  # several sheets
    shown = images(30, (6, 5, channels))
    for codec in codecs.LOSSLESS:
        size, found = codecs.coded(codec, shown, layout)
        np.testing.assert_array_equal(found, shown)
        assert size > 0


def test_a_sheet_shows_images_row_by_row():
    shown = images(5, (4, 3, 1))
    sheet = codecs._sheet(shown)
    assert sheet.shape == (8, 9, 1)
    np.testing.assert_array_equal(sheet[:4, 3:6], shown[1])
    np.testing.assert_array_equal(sheet[4:, :3], shown[3])


@pytest.mark.parametrize("codec", codecs.LOSSY, ids=lambda codec: codec.name)
def test_a_better_quality_takes_more_and_errs_less(codec):
    smooth = np.add.outer(np.arange(0, 240, 10), np.arange(0, 240, 10))[None, :, :, None] // 2 + np.zeros((6, 1, 1, 1))
    smooth = smooth.astype(np.uint8) + images(6, (24, 24, 1)) // 16
    for layout in codecs.LAYOUTS:
        few, many = (codecs.coded(codec, smooth, layout, quality) for quality in (5, 95))
        assert few[0] < many[0]
        errors = [np.mean((made.astype(float) - smooth) ** 2) for _, made in (few, many)]
        assert errors[1] < errors[0]


def test_the_bits_for_a_psnr_lie_on_the_codecs_curve():
    points = [
        {"bits_per_pixel": bits, "psnr": psnr} for bits, psnr in ((1.0, 20.0), (4.0, 30.0), (4.5, 29.0), (8.0, None))
    ]
    assert rates.at_same_psnr(points, 25.0) == {"bits_per_pixel": pytest.approx(2.0), "psnr": 25.0}
    assert rates.at_same_psnr(points, 12.0) == {"bits_per_pixel": 1.0, "psnr": 20.0}
    assert rates.at_same_psnr(points, 30.0) == {"bits_per_pixel": 4.0, "psnr": 30.0}
    assert rates.at_same_psnr(points, 40.0) == {"bits_per_pixel": 8.0, "psnr": None}
    assert rates.at_same_psnr(points[:3], 40.0) is None


@pytest.fixture
def two_qualities(monkeypatch):
    monkeypatch.setattr(codecs, "LOSSY", tuple(replace(codec, qualities=(5, 90)) for codec in codecs.LOSSY))


def test_rate_and_distortion_of_a_run_beside_codecs(run, two_qualities):
    values = images(55)
    dataset = load(Data(), values)
    found = rates.judge(run.inference, dataset, DIGEST, examples=8)
    json.dumps(found, allow_nan=False)
    assert (found["examples"], found["shape"], found["code_size"]) == (6, [9, 7, 1], 4)  # every second of 11
    bits = [point["bits_per_pixel"] for point in found["points"]]
    assert all(point["payload_bits_per_pixel"] < point["bits_per_pixel"] for point in found["points"])
    assert bits[-1] > bits[0]
    assert found["points"][-1]["psnr"] == pytest.approx(found["unquantised"]["psnr"], abs=0.05)  # an eighth of 0.1 dB
    names = {(curve["name"], curve["layout"]) for curve in found["curves"]}
    assert names == {(name, where) for name in ("jpeg", "webp", "png", "webp_lossless") for where in codecs.LAYOUTS}
    lossless = [curve for curve in found["curves"] if len(curve["points"]) == 1]
    assert [curve["points"][0]["psnr"] for curve in lossless] == [None] * 4
    assert all(len(other["points"]) == len(bits) for other in found["at_same_psnr"])


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "message"), [((12,), "vectors of 12 values"), ((4, 4, 2), "images of 2 channels")])
def test_what_codecs_do_not_take_is_not_judged(shape, message):
    values = images(30, shape)
    run = aeflax.train(replace(presets.vanilla(2), train=Train(steps=2)), values)
    with pytest.raises(
        ConfigError, match=f"image codecs take images of 1 or 3 channels, and this run's data are {message}"
    ):
        rates.judge(run.inference, load(Data(), values), DIGEST)
    with pytest.raises(ConfigError, match="0 examples are too few"):
        rates.require(run.inference, 0)
