"""Folders of PNG and JPEG files."""

import os
import pickle

import numpy as np
import pytest
from PIL import Image

from aeflax import config
from aeflax.data import images, reading
from aeflax.data.dataset import load
from aeflax.data.inputs import open_examples
from aeflax.data.sources import read
from aeflax.errors import DataError

RANDOM = np.random.default_rng(0)


def put(path, shape=(6, 5, 3), value=None):
    """Writes an image and returns its pixels as a PNG file keeps them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RANDOM.integers(0, 256, shape).astype(np.uint8) if value is None else np.full(shape, value, np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def examples(folder, **how):
    return read(f"images:{folder}", config.Data(**how)).train


def test_images_come_sorted_by_their_relative_paths_whatever_their_kind(tmp_path):
    names = ["b.png", "a/z.PNG", "a/b/c.png", "c.png"]
    pixels = {name: put(tmp_path / name) for name in names}
    put(tmp_path / "d.JPG"), put(tmp_path / "e.jpeg")
    for name in ("f.txt", ".g.png", ".hidden/h.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    found = examples(tmp_path)
    assert (found.values.shape, found.values.dtype, found.lazy) == ((6, 6, 5, 3), np.uint8, True)
    for image, name in zip(found.values[:4], sorted(names), strict=True):
        np.testing.assert_array_equal(image, pixels[name])
    np.testing.assert_array_equal(found.values[np.array([2, 0])], found.values[:][[2, 0]])
    assert found.labels is None


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("grey", [False, True])
def test_images_of_any_mode_have_one_channel_or_three(tmp_path, mode, grey):
    image = Image.fromarray(RANDOM.integers(0, 256, (4, 4, 3)).astype(np.uint8)).convert(mode)
    image.save(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"))
    found = examples(tmp_path, grey=grey).values[:]
    assert found.shape == (1, 4, 4, 1 if grey else 3)
    if mode == "L":
        np.testing.assert_array_equal(found[0], np.broadcast_to(np.asarray(image)[..., None], found.shape[1:]))


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path):
    image = Image.fromarray(RANDOM.integers(0, 256, (4, 4, 3)).astype(np.uint8)).convert("P")
    image.save(tmp_path / "a.png", transparency=bytes([0, 128, 255]))
    assert examples(tmp_path).values[:].shape == (1, 4, 4, 3)


def test_sixteen_bits_a_channel_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 60000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png has more than 8 bits a channel; convert it to 8"):
        examples(tmp_path)


def test_what_is_no_ordinary_file_is_refused_and_not_waited_for(tmp_path):
    put(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"b\.png is no ordinary file; remove it"):
        examples(tmp_path)


@pytest.mark.parametrize("shape", [(40, 60, 3), (60, 40, 3), (8, 8, 3), (4, 8, 3)], ids=str)
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_size_brings_the_shorter_side_to_it_and_keeps_the_centre(tmp_path, shape, suffix):
    smooth = 127 + 120 * np.sin(np.indices(shape[:2]).sum(axis=0) / 8)  # as a JPEG keeps it, too
    image = Image.fromarray(np.repeat(smooth[..., None], 3, axis=2).astype(np.uint8))
    image.save(tmp_path / f"a.{suffix}", **({"quality": 100} if suffix == "jpg" else {}))
    found = examples(tmp_path, size=8).values[:]
    ratio = 8 / min(image.size)
    width, height = (round(side * ratio) for side in image.size)
    left, top = (width - 8) // 2, (height - 8) // 2
    expected = image.resize((width, height)).crop((left, top, left + 8, top + 8))
    assert found.shape == (1, 8, 8, 3)
    assert np.abs(found[0].astype(int) - np.asarray(expected, int)).max() <= 8  # JPEG, and decoding it at half its size


def test_resizing_is_antialiased(tmp_path):
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "a.png")
    found = examples(tmp_path, size=8, grey=True).values[:]
    assert np.abs(found.astype(int) - 128).max() < 16  # every eighth pixel would be 0 or 255


def test_without_a_size_the_image_that_differs_is_named_before_any_is_decoded(tmp_path, monkeypatch):
    put(tmp_path / "a.png"), put(tmp_path / "b/c.png", (7, 5, 3))
    monkeypatch.setattr(images, "_converted", None)
    with pytest.raises(DataError, match=r"c\.png has 5x7 pixels where others have 5x6; .* with --data\.size 5$"):
        examples(tmp_path)
    assert examples(tmp_path, size=4).values.shape == (2, 4, 4, 3)


def test_an_image_replaced_by_another_size_since_is_named(tmp_path):
    put(tmp_path / "a.png")
    found = examples(tmp_path)
    put(tmp_path / "a.png", (9, 9, 3))
    with pytest.raises(DataError, match=r"a\.png has 9x9 pixels where others have 5x6"):
        found.values[:]


@pytest.mark.parametrize(
    ("place", "message"), [("header", "is no PNG or JPEG image"), ("middle", "is damaged"), ("end", "is damaged")]
)
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_damaged_image_is_named(tmp_path, suffix, place, message):
    path = tmp_path / f"a.{suffix}"
    put(path, (64, 64, 3))
    content = path.read_bytes()
    cut = {"header": 3, "middle": len(content) // 2, "end": len(content) - 200}[place]
    path.write_bytes(content[:cut])
    with pytest.raises(DataError, match=rf"a\.{suffix} {message}"):
        examples(tmp_path).values[:]


def test_a_file_that_would_fill_memory_is_refused_by_its_header(tmp_path):
    Image.new("1", (2**13, 2**13 + 1)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 2**16
    with pytest.raises(DataError, match=r"a\.png has 8192x8193 pixels, above the limit of 67,108,864; make it smaller"):
        examples(tmp_path, size=8).values[:]


def test_other_formats_are_not_opened_whatever_they_are_called(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png is no PNG or JPEG image"):
        examples(tmp_path)


@pytest.mark.parametrize(
    ("folders", "labels"),
    [
        (["cat", "ant"], ["ant", "cat"]),
        (["7", "10"], [10, 7]),
        (["1", "01"], ["01", "1"]),
        (["7", "x"], ["7", "x"]),
        (["²", "3"], ["3", "²"]),
    ],
    ids=str,
)
def test_folders_are_labels_as_numbers_or_as_words(tmp_path, folders, labels):
    for folder in folders:
        put(tmp_path / folder / "deep" / "a.png")
    found = examples(tmp_path)
    assert found.labels.tolist() == labels
    assert found.labels.dtype.kind == ("i" if isinstance(labels[0], int) else "U")


def test_an_image_outside_the_folders_leaves_all_without_labels(tmp_path):
    put(tmp_path / "cat/a.png"), put(tmp_path / "b.png")
    assert examples(tmp_path).labels is None


def test_train_and_test_are_the_splits_where_both_are_there(tmp_path):
    for name in ("train/b/1.png", "train/c/1.png", "test/a/1.png", "test/c/1.png", "other/1.png"):
        put(tmp_path / name)
    raw = read(f"images:{tmp_path}")
    assert (raw.train.labels.tolist(), raw.test.labels.tolist()) == (["b", "c"], ["a", "c"])
    (tmp_path / "test").rename(tmp_path / "rest")
    raw = read(f"images:{tmp_path}")
    assert (len(raw.train), raw.test) == (5, None)


def test_links_that_leave_the_folder_are_not_followed(tmp_path):
    put(tmp_path / "secret/a.png", value=1), put(tmp_path / "here/b.png", value=2)
    for name, target in (("c.png", "../secret/a.png"), ("d.png", "b.png"), ("e", "../secret")):
        (tmp_path / "here" / name).symlink_to(target)
    assert examples(tmp_path / "here").values[:][:, 0, 0, 0].tolist() == [2, 2]
    (tmp_path / "link").symlink_to("here")
    assert len(examples(tmp_path / "link")) == 2  # the folder itself may be a link


@pytest.mark.parametrize(("name", "message"), [("gone", "cannot read the folder"), ("empty", "holds no PNG or JPEG")])
def test_a_folder_without_images_is_a_data_error(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        examples(tmp_path / name)


def test_names_that_are_no_text_are_read(tmp_path):
    put(tmp_path / "a.png")
    os.rename(os.fsencode(tmp_path / "a.png"), os.fsencode(tmp_path) + b"/\xff.png")
    assert examples(tmp_path).values[:].shape == (1, 6, 5, 3)


def test_paths_take_little_room_and_travel_without_pixels(tmp_path):
    for i in range(50):
        put(tmp_path / f"{i:03}.png")
    found = examples(tmp_path)
    message = pickle.dumps(found.values)
    assert len(message) < 50 * 20 + 1000
    np.testing.assert_array_equal(pickle.loads(message)[:], found.values[:])


@pytest.mark.slow
def test_workers_decode_what_this_process_would(tmp_path):
    for i in range(12):
        put(tmp_path / f"{i:03}.jpg", (40, 30, 3))
    rows = examples(tmp_path, size=16).values
    tables = [np.array([i, 11 - i], np.int32) for i in range(12)]
    for item, table in zip(reading.ahead(rows, tables, workers=2), tables, strict=True):
        np.testing.assert_array_equal(item, rows[table])


def test_the_configuration_brings_folders_to_data_sets(tmp_path):
    for i in range(10):
        put(tmp_path / f"{i % 2}/{i}.png", (9, 12, 3))
    settings = config.Data(source=f"images:{tmp_path}", size=6, grey=True, classes=(1,))
    found = load(settings)
    assert isinstance(found.train.values, np.ndarray)
    assert (found.train.values.shape, found.test.values.shape) == ((4, 6, 6, 1), (1, 6, 6, 1))
    opened = open_examples(f"images:{tmp_path}", how=settings)
    assert (len(opened), opened.shape) == (10, (6, 6, 1))
