"""Readers of array files: what they return, and one clear sentence for every kind of damage."""

import gzip
import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aeflax.data import files, tables
from aeflax.errors import DataError

# http://yann.lecun.com/exdb/mnist/, "The IDX file format": the type codes of the third byte, big-endian.
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def idx_bytes(code, sizes, payload=b""):
    return bytes([0, 0, code, len(sizes)]) + struct.pack(f">{len(sizes)}i", *sizes) + payload


def npy_bytes(header, payload=b""):
    text = header if isinstance(header, bytes) else header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + payload


def npy_header(shape, descr="'<f4'"):
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"


def npz_bytes(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


@pytest.fixture
def store(tmp_path):
    """Writes bytes or text to a file and returns its path."""

    def write(content):
        path = tmp_path / "stored"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """One path for all the examples of a hypothesis test."""
    return tmp_path_factory.mktemp("fuzz") / "stored"


def array_or_data_error(reader, path, content):
    path.unlink(missing_ok=True)  # a memory map of the last example may still hold the old file
    path.write_bytes(content)
    try:
        return reader(path)
    except DataError:
        return None


# --- IDX ---


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("code", IDX_TYPES, ids=IDX_TYPES.values())
def test_idx_returns_the_stored_numbers_in_native_order(store, code, packed):
    kind = np.dtype(IDX_TYPES[code])
    expected = np.array([[0, 1, 100], [127, 5, 9]], kind) - kind.type(1 if kind.kind != "u" else 0)
    content = idx_bytes(code, [2, 3], expected.astype(kind).tobytes())
    found = files.idx(store(gzip.compress(content) if packed else content))
    assert found.dtype == kind.newbyteorder("=")
    np.testing.assert_array_equal(found, expected)


def test_idx_reads_a_header_written_by_hand(store):
    # Two images of 1x2, as the format's description spells them out.
    found = files.idx(store(bytes.fromhex("00000803 00000002 00000001 00000002 0a0b0cff")))
    assert found.tolist() == [[[10, 11]], [[12, 255]]]


@pytest.mark.parametrize("length", [0, 1, 9, -1])
def test_idx_reports_a_truncated_gzip_file(store, length):
    whole = gzip.compress(idx_bytes(8, [100], bytes(range(100))))
    with pytest.raises(DataError, match=r"stored is (a damaged or truncated gzip|no IDX) file"):
        files.idx(store(whole[:length]))


def test_idx_reports_a_damaged_gzip_file(store):
    whole = bytearray(gzip.compress(idx_bytes(8, [100], bytes(range(100)))))
    whole[-6] ^= 1  # the stored checksum
    with pytest.raises(DataError, match="damaged or truncated gzip file"):
        files.idx(store(bytes(whole)))


@pytest.mark.parametrize("magic", ["00010801", "01000801", "00000a01", "00000001", "504b0304", "000008"])
def test_idx_reports_a_wrong_magic_number_with_what_it_found(store, magic):
    with pytest.raises(DataError, match=rf"magic number is 0x{magic}\b.*fetch the file again"):
        files.idx(store(bytes.fromhex(magic) + (idx_bytes(8, [1], b"\1")[4:] if len(magic) == 8 else b"")))


@pytest.mark.parametrize("sizes", [[-1], [2, -1], [-2, -2]])
def test_idx_refuses_negative_sizes(store, sizes):
    with pytest.raises(DataError, match=r"damaged IDX header with the sizes \[.*-"):
        files.idx(store(idx_bytes(8, sizes, b"\0\0\0\0")))


def test_idx_refuses_a_header_that_ends_early(store):
    with pytest.raises(DataError, match="damaged IDX header"):
        files.idx(store(idx_bytes(8, [4, 4])[:-2]))


@pytest.mark.parametrize("stored", [5, 7], ids=["too short", "too long"])
def test_idx_reports_a_payload_that_does_not_fit_its_header(store, stored):
    with pytest.raises(DataError, match=rf"holds {12 + stored} bytes .* sizes \[2, 3\], asks for 18;"):
        files.idx(store(idx_bytes(8, [2, 3], bytes(stored))))


@pytest.mark.parametrize("sizes", [[0] * 65, [0, *[2**31 - 1] * 3]], ids=["65 axes", "beyond the address space"])
def test_idx_refuses_shapes_that_no_array_can_have(store, sizes):
    with pytest.raises(DataError, match="damaged IDX header"):
        files.idx(store(idx_bytes(8, sizes)))


def test_idx_allocates_nothing_for_sizes_that_the_file_does_not_hold(store):
    path = store(idx_bytes(14, [2**31 - 1] * 3, bytes(100)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="holds 116 bytes"):
            files.idx(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20  # the header asks for 2**96 bytes


@st.composite
def idx_like(draw):
    code = draw(st.sampled_from([*IDX_TYPES, 0]))
    rank = draw(st.one_of(st.integers(0, 4), st.integers(0, 255)))
    sizes = draw(st.lists(st.one_of(st.integers(-1, 3), st.integers(-(2**31), 2**31 - 1)), max_size=rank))
    head = bytes([0, 0, code, rank]) + struct.pack(f">{len(sizes)}i", *sizes)
    return head + draw(st.binary(max_size=64))


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=64), idx_like()), st.sampled_from(["plain", "gzip", "cut", "flipped"]))
def test_idx_turns_any_bytes_into_an_array_or_a_data_error(scratch, content, packing):
    if packing != "plain":
        content = gzip.compress(content)
    if packing == "cut":
        content = content[: len(content) // 2]
    if packing == "flipped":
        content = content[:10] + bytes(byte ^ 0x55 for byte in content[10:14]) + content[14:]
    found = array_or_data_error(files.idx, scratch, content)
    assert found is None or found.nbytes <= 64


@pytest.mark.parametrize("reader", [files.idx, files.npy, lambda path: files.npz(path, None), tables.read])
def test_a_missing_file_and_a_folder_are_reported_with_their_path(reader, tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*absent: No such file or directory; check the path"):
        reader(tmp_path / "absent")
    with pytest.raises(DataError, match=r"cannot read .*: Is a directory; check the path"):
        reader(tmp_path)


# --- NPY and NPZ ---


def test_npy_returns_the_stored_array_without_reading_all_of_it(tmp_path):
    expected = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.save(tmp_path / "a.npy", expected)
    found = files.npy(tmp_path / "a.npy")
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, expected)


def test_npz_returns_the_named_array(tmp_path):
    np.savez(tmp_path / "a.npz", one=np.zeros(2), two=np.arange(3))
    assert files.npz(tmp_path / "a.npz", "two").tolist() == [0, 1, 2]


def test_npz_needs_no_name_where_there_is_one_array(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", only=np.arange(3))
    assert files.npz(tmp_path / "a.npz", None).tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", [None, "three"])
def test_npz_lists_its_arrays_where_the_name_is_missing_or_wrong(tmp_path, name):
    np.savez(tmp_path / "a.npz", one=np.zeros(2), two=np.arange(3))
    with pytest.raises(DataError, match=r"a\.npz holds the arrays one, two; name one as npz:.*a\.npz#ARRAY"):
        files.npz(tmp_path / "a.npz", name)


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("kind", ["npy", "npz", "pickle as npy", "pickle as npz", "field of objects"])
def test_a_pickle_is_never_run(tmp_path, kind):
    marker, path = tmp_path / "ran", tmp_path / "stored"
    payload = np.empty(1, object)
    payload[0] = Payload(marker)
    if kind in ("npy", "npz"):
        with path.open("wb") as file:
            np.save(file, payload) if kind == "npy" else np.savez(file, a=payload)
    elif kind == "field of objects":
        path.write_bytes(npy_bytes(npy_header("(1,)", "[('a', '|O')]"), pickle.dumps(payload)))
    else:
        path.write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(DataError, match=r"holds Python objects, which are never loaded|is no NP[YZ] file"):
        files.npz(path, None) if "npz" in kind else files.npy(path)
    assert not marker.exists()


def test_the_pickle_of_these_tests_would_leave_a_mark(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("kept", [0, 3, 7, 9, 40, 127, 128, 130])
def test_npy_reports_a_truncated_file(tmp_path, kept):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(10))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"a\.npy is (no NPY file|damaged)"):
        files.npy(path)


@pytest.mark.parametrize("kept", [0, 1, 10, 60, 200, -1, -30])
def test_npz_reports_a_truncated_file(tmp_path, kept):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(10))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"a\.npz is (no NPZ file|damaged)"):
        files.npz(path, None)


def test_a_file_of_another_kind_is_named_so(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    np.savez(tmp_path / "a.npz", np.arange(3))
    with pytest.raises(DataError, match=r"a\.npz is no NPY file; write it with numpy\.save$"):
        files.npy(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"a\.npy is no NPZ file; write it with numpy\.savez$"):
        files.npz(tmp_path / "a.npy", None)


HOSTILE_SHAPES = ["(-1,)", "(-2, -2)", "(-2, 0)", "(2, -1)", "(1" + "0" * 30 + ",)", "(True,)", "(3, 'x')", "7", "(("]


@pytest.mark.parametrize("shape", HOSTILE_SHAPES)
def test_a_header_with_an_impossible_shape_is_damage(store, shape):
    content = npy_bytes(npy_header(shape), bytes(16))
    with pytest.raises(DataError, match="stored is damaged"):
        files.npy(store(content))
    with pytest.raises(DataError, match="stored is damaged"):
        files.npz(store(npz_bytes(a=content)), None)


@pytest.mark.parametrize("missing", [False, True])
def test_csv_takes_truth_for_one_and_zero(store, missing):
    values, labels = tables.read(store("wet,mass,label\nTrue,1.5,true\nfalse,2,FALSE\n"), missing=missing)
    assert (values.tolist(), labels.tolist()) == ([[1, 1.5], [0, 2]], [1, 0])


def test_csv_does_not_lose_a_line_of_one_empty_cell(store):
    with pytest.raises(DataError, match=r"the value in line 3, column 1 .'true'. is missing"):
        tables.read(store('true\n1\n""\ntrue\n'))


def test_csv_takes_names_that_say_true_for_names(store):
    path = store("True,False\n0.9,0.1\n")
    assert tables.columns(path) == ("True", "False")
    assert tables.read(path)[0].tolist() == [[0.9, 0.1]]


@pytest.mark.parametrize("header", [b"", b"{", b"\0", b"(" * 5000, b"-" * 9000 + b"1", b"[]", b"\xff"])
def test_a_header_that_is_no_dictionary_is_damage(store, header):
    with pytest.raises(DataError, match="stored is damaged"):
        files.npy(store(npy_bytes(header, bytes(16))))


def test_arrays_larger_than_their_file_are_damage_and_take_no_memory(store):
    content = npy_bytes(npy_header("(250000000000,)"), bytes(64))  # 1 TB of float32
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="stored is damaged"):
            files.npy(store(content))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


@settings(deadline=None)
@given(st.data())
def test_npy_turns_any_damage_into_an_array_or_a_data_error(scratch, data):
    whole = npy_bytes(npy_header("(2, 3)"), bytes(24))
    start = data.draw(st.integers(6, len(whole)))
    content = whole[:start] + data.draw(st.binary(max_size=8)) + whole[start + data.draw(st.integers(0, 8)) :]
    array_or_data_error(files.npy, scratch, content)


@settings(deadline=None)
@given(st.data())
def test_npz_turns_any_damage_into_an_array_or_a_data_error(scratch, data):
    whole = npz_bytes(a=npy_bytes(npy_header("(2, 3)"), bytes(24)))
    start = data.draw(st.integers(0, len(whole)))
    content = whole[:start] + data.draw(st.binary(max_size=4)) + whole[start + data.draw(st.integers(0, 4)) :]
    array_or_data_error(lambda path: files.npz(path, None), scratch, content)


@pytest.mark.parametrize(
    ("at", "value"), [(6, 99), (8, 1), (8, 0x20), (10, 99)], ids=["version", "encrypted", "patched", "method"]
)
def test_npz_reports_zip_features_that_python_lacks(store, at, value):
    content = bytearray(npz_bytes(a=npy_bytes(npy_header("(2,)"), bytes(8))))
    content[content.index(b"PK\x01\x02") + at] = value  # a field of the central directory (PKWARE APPNOTE 4.3.12)
    with pytest.raises(DataError, match="stored is damaged"):
        files.npz(store(bytes(content)), None)


# --- CSV ---


def test_csv_without_a_header_is_all_values(store):
    values, labels = tables.read(store("1,2\n3,4.5\n-5e-1,6\n"))
    assert values.tolist() == [[1, 2], [3, 4.5], [-0.5, 6]]
    assert labels is None


def test_csv_with_a_header_drops_the_first_line(store):
    values, labels = tables.read(store("width,height\n3,4\n"))
    assert values.tolist() == [[3, 4]]
    assert labels is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a;b;label\n1,5;-2e-1;7\n,5;+3;8\n", ("a", "b", "label")),
        ("a\tb\tlabel\n1.5\t-0,2\t7\n.5\t3\t8\n", ("a", "b", "label")),
        ('"a, in °C";b;label\n1,5;-0,2;7\n0,5;3;8\n', ("a, in °C", "b", "label")),
        ("1,5;-0,2\n0,5;3\n", None),
        ("1.5\t-0.2\n0.5\t3\n", None),
    ],
)
def test_csv_may_have_tabs_or_semicolons_and_decimal_commas(store, text, names):
    path = store(text)
    values, labels = tables.read(path)
    assert values.tolist() == [[1.5, -0.2], [0.5, 3]]
    assert tables.columns(path) == names
    assert (labels is None) == (names is None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a;b\n1,5;191.794\n0,5;8.824\n",
            r"line 2, column 2 \('b'\) is '191.794', with a point .* write 191794, or",
        ),
        (
            "a;b\n1,5;191.794.000\n0,5;7\n",
            r"is '191.794.000', with a point .*; write 191794000$",
        ),
    ],
)
def test_points_that_may_part_thousands_are_refused_beside_decimal_commas(store, text, said):
    with pytest.raises(DataError, match=said):
        tables.read(store(text))


@pytest.mark.parametrize(
    "text", ["a;b\n1,5;0.125\n0,5;0.250\n", "a;b\n1,5;191.79\n0,5;8.824\n", "a;b\n1;191.794\n2;8.824\n"]
)
def test_points_that_part_no_thousands_are_read(store, text):
    assert tables.read(store(text))[0][1, 1] in (0.25, 8.824)


def test_labels_and_dropped_columns_part_no_thousands(store):
    text = "n;a;b;label\n1,234;1.250;.5;1.000\n2,5;2.125;.5;2.000\n"
    values, labels = tables.read(store(text), drop=("n",))
    assert values.tolist() == [[1.25, 0.5], [2.125, 0.5]]
    assert labels.tolist() == [1, 2]


def test_a_missing_cell_of_a_column_of_words_is_one_of_words(store):
    with pytest.raises(DataError, match=r"column 2 \('state'\) is '', not a number; take it out of the file, or"):
        tables.read(store("a,state\n1,\n2,ok\n3,odd\n"))


def test_a_comma_in_a_number_is_no_point_where_commas_separate(store):
    with pytest.raises(DataError, match="'1,5', not a number"):
        tables.read(store('a,b\n"1,5",2\n'))


@pytest.mark.parametrize("header", ["0,1,label", "1,2,label", "name,0,1", "index,1,2"])
def test_csv_names_may_be_numbers_counted_up(store, header):
    assert tables.read(store(f"{header}\n3,4,5\n"))[0][0, 0] == 3


@pytest.mark.parametrize(
    ("line", "column", "cell"), [("1,2x,3", 2, "2x"), ("0.5,o.7,0.1", 2, "o.7"), ("a,3,4", 1, "a"), ("7,8,x", 3, "x")]
)
def test_csv_does_not_lose_an_example_with_a_slip_as_a_header(store, line, column, cell):
    said = rf"line 1 is neither a header nor numbers: column {column} is '{cell}' between numbers; mend the cell"
    with pytest.raises(DataError, match=said):
        tables.read(store(f"{line}\n3,4,5\n"))


def test_csv_takes_the_column_called_label_as_labels(store):
    values, labels = tables.read(store("a,label,b\n1,7,2\n3,8,4\n"))
    assert values.tolist() == [[1, 2], [3, 4]]
    assert labels.tolist() == [7, 8]


@pytest.mark.parametrize(
    ("column", "kind"), [(("3", "1e2"), "i"), (("0.5", "1"), "f"), (("nan", "1"), "f"), (("inf", "1"), "f")]
)
def test_csv_labels_that_are_all_integers_are_classes(store, column, kind):
    labels = tables.read(store("a,label\n1,{}\n2,{}\n".format(*column)))[1]
    assert labels.dtype.kind == kind
    np.testing.assert_array_equal(labels, np.array(column, float))


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("width,label,mass\n1,2,3\n", ("width", "label", "mass")),
        ("\ufeff\n width , 'x y'\n1,2\n", ("width", "'x y'")),
        ("1,2\n3,4\n", None),
        ("1,\n", None),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_csv_columns_are_those_of_the_header(store, content, names, packed):
    data = content.encode()
    assert tables.columns(store(gzip.compress(data) if packed else data)) == names


@pytest.mark.parametrize("content", ["", "\ufeff", " \n\n"])
def test_an_empty_table_is_said_to_be_empty(store, content):
    with pytest.raises(DataError, match="is empty; a table needs at least one row of numbers"):
        tables.columns(store(content))


def test_csv_does_not_take_a_byte_order_mark_for_a_header(store):
    assert tables.read(store("\ufeff1,2\n3,4\n"))[0].tolist() == [[1, 2], [3, 4]]


def test_csv_keeps_a_single_row_and_a_single_column_two_dimensional(store):
    assert tables.read(store("1,2,3"))[0].shape == (1, 3)
    assert tables.read(store("1\n2\n3\n"))[0].shape == (3, 1)


@pytest.mark.parametrize(
    "content",
    [
        "\ufefflabel,a\n2,1\n",
        '"a","label"\n"1","2"\n',
        '"a, in cm",label\n1,2\n',
        " a , label \n 1 , 2 \n",
        "a,label\r\n1,2\r\n",
        "a,label\r1,2",
        "\na,label\n\n1,2\n  \n",
        gzip.compress(b"a,label\n1,2\n", mtime=0),
    ],
    ids=["BOM", "quoted", "quoted comma", "spaces", "CRLF", "CR", "blank lines", "gzip"],
)
def test_csv_reads_the_dialects_that_programs_write(store, content):
    values, labels = tables.read(store(content))
    assert values.tolist() == [[1]]
    assert labels.tolist() == [2]


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("1,2\n3,\n", "line 2, column 2"),
        ("1,nan\n3,4\n", "line 1, column 2"),
        (",2\n3,4\n", "line 1, column 1"),
        ("1,,3\n4,5,6\n", "line 1, column 2"),
        ("a,b\n1,2\n ,4\n", r"line 3, column 1 \('a'\)"),
        ("a,b\n\n1,2\n\n3,\n", r"line 5, column 2 \('b'\)"),
        ("a,b\n1,nan\n", r"line 2, column 2 \('b'\)"),
        ('1,2\n"",4\n', "line 2, column 1"),
    ],
)
def test_csv_names_line_and_column_of_a_missing_value(store, content, where):
    with pytest.raises(DataError, match=f"the value in {where} is missing; .* or train with --data.impute"):
        tables.read(store(content))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("a,b\n1,2\n3,red\n", r"line 3, column 2 \('b'\) is 'red', not a number"),
        (
            "a,b\n1,2;3\n",
            r"line 2, column 2 \('b'\) is '2;3', not a number; take it out of the file, or train with --data.drop b",
        ),
        ("a,b\n1,x\n2,3\n", r"line 2, column 2 \('b'\) is 'x', not a number; drop the line"),
        ("a;b\n1;2\n3;red\n", r"line 3, column 2 \('b'\) is 'red', not a number"),
        ("a,b\n1," + "x" * 200_000 + "\n", rf"line 2, column 2 \('b'\) is '{'x' * 40}', not a number"),
    ],
)
def test_csv_names_line_and_column_of_text(store, content, fault):
    with pytest.raises(DataError, match=f"the value in {fault}"):
        tables.read(store(content))


@pytest.mark.parametrize("missing", [False, True])
def test_csv_names_all_columns_of_text_at_once_also_with_commas_in_them(store, missing):
    path = store('id,place,x\nA1,"south, old",1\nA2,"north, new",2\n')
    mend = r"take them out of the file, or train with --data.drop id place"
    with pytest.raises(DataError, match=rf"the columns 1 \('id'\), 2 \('place'\) hold text, not numbers; {mend}"):
        tables.read(path, missing=missing)


@pytest.mark.parametrize("missing", [False, True])
def test_csv_leaves_out_columns_whatever_they_hold(store, missing):
    path = store('id,x,place,label,y\nA1,1,"south, old",7,2\nA2,3,,8,4\n')
    values, labels = tables.read(path, missing=missing, drop=("place", "id", "not there"))
    assert values.tolist() == [[1, 2], [3, 4]]
    assert labels.tolist() == [7, 8]
    values, labels = tables.read(path, missing=missing, drop=("place", "id", "label"))
    assert (values.tolist(), labels) == ([[1, 2], [3, 4]], None)


def test_csv_counts_the_columns_that_it_leaves_out_where_it_names_a_fault(store):
    with pytest.raises(DataError, match=r"line 3, column 3 \('y'\) is 'red', not a number"):
        tables.read(store("id,x,y\nA1,1,2\nA2,3,red\n"), drop=("id",))
    with pytest.raises(DataError, match="line 3 holds 2 cells, expected 3"):
        tables.read(store("id,x,y\nA1,1,2\nA2,3\n"), drop=("id",))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("1,2\n3,4,5\n", "line 2 holds 3 cells, expected 2"),
        ("a,b\n1,2\n3\n", "line 3 holds 1 cells, expected 2"),
        ("a,b\n1,2,3\n4,5,6\n", "the header names 2 columns, the rows hold 3"),
    ],
)
def test_csv_reports_ragged_rows(store, content, fault):
    with pytest.raises(DataError, match=fault):
        tables.read(store(content))


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff", "a,b\n", "a,b"])
def test_csv_reports_a_file_without_rows(store, content):
    with pytest.raises(DataError, match="stored holds no rows of numbers"):
        tables.read(store(content))


@pytest.mark.parametrize("content", ["a,b\n1,ü\n".encode("latin-1"), "1,2\n".encode("utf-16")])
def test_csv_reports_a_file_that_is_not_utf_8(store, content):
    with pytest.raises(DataError, match=r"is not UTF-8 text .*; save it as UTF-8"):
        tables.read(store(content))


@pytest.mark.parametrize("missing", [False, True])
def test_csv_labels_may_be_words_and_missing(store, missing):
    path = store('a,state,b,label\n1,ok,2,x\n3,"bad, old",4,y\n5,,6,z\n7,n/a,8,z\n')
    values, labels = tables.read(path, missing=missing, drop=("label",), label="state")
    assert values.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert labels.tolist() == ["ok", "bad, old", "", "n/a"]
    assert tables.labels(path, "state").tolist() == labels.tolist()


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (("0", "", "1"), [0, np.nan, 1]),
        (("1e0", "NA", "true"), [1, np.nan, 1]),
        (("none", "scratch", "none"), ["none", "scratch", "none"]),
        (("1_1", "2", ""), ["1_1", "2", ""]),
        (("١", "2", "3"), ["١", "2", "3"]),
    ],
    ids=str,
)
def test_csv_labels_are_numbers_where_all_that_there_are_are(store, missing, column, expected):
    path = store("a;label\n1,5;{}\n2;{}\n3;{}\n".format(*column))
    for labels in (tables.read(path, missing=missing)[1], tables.labels(path, "label")):
        assert labels.dtype.kind == ("f" if 1 in expected else "U")
        np.testing.assert_array_equal(labels, expected)


def test_a_column_without_any_label_is_none(store):
    path = store("a,label\n1,\n2,\n")
    assert tables.read(path)[1] is None
    assert tables.labels(path, "label") is None


@pytest.mark.parametrize("content", [b"PK\x03\x04\x14\x00\x8e\x00xl/workbook.xml", b"\xd0\xcf\x11\xe0\xa1\xb1"])
def test_csv_tells_a_workbook(store, content):
    with pytest.raises(DataError, match=r"is a workbook or an archive, .*; save its sheet as CSV, or pass"):
        tables.read(store(content))


def test_a_mend_names_the_columns_that_are_left_out_already(store):
    words = store("a,b,c,d,label\n1,x,y,z,w\n2,x,y,z,w\n")
    with pytest.raises(DataError, match=r"the columns 3 \('c'\), 4 \('d'\) hold.*--data.drop b c d$"):
        tables.read(words, drop=("b",))
    with pytest.raises(DataError, match=r"the columns 3 .*, 5 \('label'\) hold text"):
        tables.read(words, drop=("b",), label="status")
    with pytest.raises(DataError, match=r"--data.drop b c d, or where it holds labels with --data.label d, or write"):
        tables.read(words, drop=("b", "c"))


@pytest.mark.parametrize(
    ("content", "missing", "where"),
    [
        ("1,nan\n1e300,inf\n", True, "line 2, column 1"),
        ("a,label,b\n\n1,7,-inf\n", False, r"line 3, column 3 \('b'\)"),
        ("b;a\n1;-1e39\n2;3\n", False, r"line 2, column 2 \('a'\)"),
        ("a,b\n1,2\n3,inf\n4,inf\n", False, r"line 3, column 2 \('b'\) .*2 are"),
    ],
)
def test_csv_names_line_and_column_of_a_number_beyond_float32(store, content, missing, where):
    place, _, count = where.partition(" .*")
    with pytest.raises(DataError, match=rf"the value in {place} is infinite or beyond float32; correct it, .*{count}"):
        tables.read(store(content), missing=missing)


def test_csv_reads_the_largest_numbers_of_float32_and_ones_in_columns_that_are_left_out(store):
    values, _ = tables.read(store("a,b\n3.4028234e38,1e300\n"), drop=("b",))
    assert values.tolist() == [[3.4028234e38]]


@pytest.mark.parametrize("content", ['1,"2\n3",4\n', "1_0,2\n", "1,2\n#3,4\n", "1 2\n3 4\n"])
def test_csv_never_guesses_at_a_malformed_table(store, content):
    with pytest.raises(DataError):
        tables.read(store(content))


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=48), st.text('0123456789.,-+e"\n\r\t #naifx\0\ufeff', max_size=48)))
@example('a\t\r"')
def test_csv_turns_any_bytes_into_a_table_or_a_data_error(scratch, content):
    found = array_or_data_error(tables.read, scratch, content.encode() if isinstance(content, str) else content)
    assert found is None or found[0].ndim == 2


def bomb(monkeypatch):
    monkeypatch.setattr(files, "UNPACKED", 1000)
    return bytes(200_000)


def test_a_small_gzip_file_that_becomes_a_large_one_is_refused(store, monkeypatch):
    zeros = bomb(monkeypatch)
    for content in (zeros, idx_bytes(8, [200_000], zeros), idx_bytes(8, [10], zeros), idx_bytes(8, [10**8], b"")):
        with pytest.raises(DataError, match=r"stored .* made to fill memory; if it was not, unpack it with gunzip"):
            files.idx(store(gzip.compress(content)))
    with pytest.raises(DataError, match="made to fill memory"):
        tables.read(store(gzip.compress(b"1\n" * 100_000)))


def test_a_small_archive_that_becomes_a_large_one_is_refused(tmp_path, monkeypatch):
    values = np.frombuffer(bomb(monkeypatch), np.uint8)
    np.savez_compressed(tmp_path / "a.npz", values=values, small=np.arange(3))
    with pytest.raises(DataError, match=r"a\.npz .* made to fill memory; if it was not, save it with numpy\.savez"):
        files.npz(tmp_path / "a.npz", "values")
    with pytest.raises(DataError, match="made to fill memory"):
        files.npz_arrays(tmp_path / "a.npz")
    assert files.npz(tmp_path / "a.npz", "small").tolist() == [0, 1, 2]
    np.savez(tmp_path / "b.npz", values=values)
    assert len(files.npz(tmp_path / "b.npz", None)) == 200_000


def test_an_npy_file_that_is_longer_than_its_header_says_is_damaged(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(1000))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(1000,)", b"(1004,)").replace(b"(1004,)", b"(100,) "))
    with pytest.raises(DataError, match=r"a\.npy holds 8128 bytes where its header, .* asks for 928; write it again"):
        files.npy(path)


@pytest.mark.parametrize("read", [files.idx, files.npy, tables.read, lambda path: files.npz(path, None)])
def test_a_pipe_is_not_waited_for(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe is no ordinary file"):
        read(tmp_path / "pipe")


def test_a_member_that_is_no_array_is_a_data_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("notes\n", b"no array")
    with pytest.raises(DataError, match=r"holds 'notes\\n', which is no array"):
        files.npz(tmp_path / "a.npz", None)
    with pytest.raises(DataError, match=r"holds the arrays 'notes\\n'; name one"):
        files.npz(tmp_path / "a.npz", "other")
