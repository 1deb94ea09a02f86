"""The section on compression: words that say where codecs win, table and figure."""

from aeflax.applications.findings import Findings
from aeflax.report import canvas
from aeflax.report.compression import section


def point(bits, psnr, ssim=0.9, **more):
    return {"bits_per_pixel": bits, "psnr": psnr, "ssim": 0.9, **more}


def found(*, webp=False):
    own = [
        point(0.5 * 2**place, 20.0 + place, step_size=2.0**-place, payload_bits_per_pixel=0.4 * 2**place)
        for place in range(3)
    ]
    jpeg = [point(2.0, 22.5, quality=5), point(4.0, 40.0, quality=95)]
    lossless = [point(3.25, None, 1.0, quality=None)]
    curves = [
        {"name": name, "layout": layout, "points": points}
        for layout in ("sheet", "files")
        for name, points in (("jpeg", jpeg), ("webp", jpeg), ("png", lossless), ("webp_lossless", lossless))
    ]
    first = {"bits_per_pixel": 2.0, "psnr": 22.5}
    won = {"bits_per_pixel": 0.75, "psnr": 21.0}
    values = {
        "source": "x<b>",
        "split": "test",
        "examples": 40,
        "shape": [8, 8, 1],
        "code_size": 4,
        "model_bytes": 1_500_000,
        "unquantised": {"psnr": 22.75, "ssim": 0.9},
        "default": 0.5,
        "points": own,
        "curves": curves,
        "at_same_psnr": [
            {"name": "jpeg", "layout": "sheet", "points": [first, first, None]},
            {"name": "webp", "layout": "sheet", "points": [None, won if webp else None, None]},
        ],
    }
    return Findings("ab12", values)


def test_the_words_compare_with_codecs_at_the_same_quality():
    text = " ".join(section(found()).sentences)
    assert "With a step size of 0.5 a container takes 1 bits per pixel (0.8 without header and tables)" in text
    assert "gives 21.00 dB, where codes that are not quantised give 22.75 dB" in text
    assert "JPEG (one sheet) has no files under 2 bits per pixel, which give 22.50 dB" in text
    assert "WebP (one sheet) has no setting" in text
    assert "its 1.50 MB, which are 4,688 bits per pixel of these images" in text


def test_the_words_say_where_codecs_win():
    text = " ".join(section(found()).sentences)
    assert "At none of the 3 step sizes does JPEG or WebP reach the same PSNR with fewer bits." in text
    assert "Beyond 22.75 dB this model has nothing at any rate, and the codecs win" in text
    assert "PNG takes 3.25 (one sheet) and 3.25 (a file each)" in text
    text = " ".join(section(found(webp=True)).sentences)
    assert "WebP (one sheet) takes 0.75 bits per pixel, which is 25% less" in text
    assert "these codecs win, the same PSNR or more with fewer bits: WebP (one sheet) at 1." in text


def test_the_table_has_a_row_for_each_step_size():
    (table,) = section(found(webp=True)).tables
    assert list(table.columns)[-2:] == ["JPEG, one sheet", "WebP, one sheet"]
    assert list(table.rows[1]) == ["0.5", "1.0000", "0.8000", "21.00", "0.9000", "2.0000 (22.50 dB)", "0.7500"]
    assert table.rows[2][-1] == "–"


def test_the_figure_has_the_colours_of_the_page():
    made = section(found())
    ((name, (figure, caption)),) = made.figures.items()
    assert name == "compression"
    assert caption.endswith(".")
    assert [axes.get_ylabel() for axes in figure.axes] == ["PSNR, dB", "SSIM"]
    drawn = canvas.svg(figure, name)
    assert canvas.INK not in drawn
    assert "mathdefault" not in drawn
