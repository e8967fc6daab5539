import importlib.util
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from experiments.data.files.folders import check_folder, entries, images_in, subfolders
from experiments.data.files.image import image_size, read_image, read_mask
from experiments.data.pairs import DataError

IMAGE = np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)


def _write(path, image=IMAGE):
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
    return path


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".bmp", ".tif", ".tiff", ".PNG"])
def test_pixels_come_back_as_rgb(tmp_path, suffix):
    path = _write(tmp_path / f"a{suffix}")
    assert image_size(path) == (9, 13)
    assert np.array_equal(read_image(path), IMAGE)


def test_a_color_profile_changes_nothing_and_its_faults_are_not_told(tmp_path, capfd):
    image = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png", icc_profile=b"no profile", dpi=(72, 72))
    assert b"iCCP" in (tmp_path / "a.png").read_bytes()
    assert np.array_equal(read_image(tmp_path / "a.png"), image) and capfd.readouterr() == ("", "")
    for length in range(9, 60):  # whatever is left of the chunks, looking for the profile ends
        (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:length])
        with pytest.raises(DataError):
            read_image(tmp_path / "cut.png")


def test_gray_images_have_three_equal_channels(tmp_path):
    for name in ("a.png", "a.pgm"):
        path = _write(tmp_path / name, IMAGE[..., 0])
        assert np.array_equal(read_image(path), np.repeat(IMAGE[..., :1], 3, 2))
    assert np.array_equal(read_mask(path), IMAGE[..., 0] > 127)


def test_ppm_headers_with_other_spaces_and_comments_are_read(tmp_path):
    path = tmp_path / "a.ppm"
    for header in (b"P6 \n13 9 \n255\n", b"P6\n# by hand\n13\n9\n255\n"):
        path.write_bytes(header + IMAGE.tobytes())
        assert np.array_equal(read_image(path), IMAGE)


def _pnm(path, values, largest, text):
    """A PGM or PPM; text ends without a line break."""
    color = values.ndim == 3
    head = f"P{2 + color if text else 5 + color}\n{values.shape[1]} {values.shape[0]}\n{largest}\n".encode()
    body = " ".join(map(str, values.ravel())).encode() if text else values.astype(">u2" if largest > 255 else "u1")
    path.write_bytes(head + bytes(body))
    return path


@pytest.mark.parametrize("largest", [1, 100, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_the_largest_value_of_a_pnm_is_full_brightness(tmp_path, largest, text, channels):
    values = np.random.default_rng(1).integers(0, largest + 1, (5, 7, *channels))
    values[0, 0], values[0, 1] = 0, largest
    path = _pnm(tmp_path / "a.ppm", values, largest, text)
    expected = values >> 8 if largest == 65535 else np.floor(values * 255 / largest + 0.5)
    assert image_size(path) == (5, 7)
    assert np.array_equal(read_image(path), expected if channels else np.repeat(expected[..., None], 3, 2))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"P5 2 2 1023\n\0\1\0\2\0\3\0", "cut off, 19 bytes where 2x2 pixels need 20"),
        (b"P2 2 2 255\n1 2 3", "cut off, 16 bytes where 2x2 pixels need at least 18"),
        (b"P2 2 2 255\n100 200 3", "cut off, 3 values where 2x2 need 4"),
        (b"P2 2 2 255\n1 2 3 x4", "cannot be decoded, b'x' stands among its numbers"),
        (b"P2 2 2 255\n1 2 3 9999999999", "stands among its numbers"),
        (b"P5 2 2 100\n\1\2\3\x65", "cannot be decoded, a value is 101, the header allows 100"),
    ],
)
def test_damaged_pnm_are_refused(tmp_path, data, reason):
    (tmp_path / "a.pgm").write_bytes(data)
    with pytest.raises(DataError, match=f"a.pgm: .*{reason}"):
        read_image(tmp_path / "a.pgm")
    if "need" in reason and "values" not in reason:
        with pytest.raises(DataError, match=reason):
            image_size(tmp_path / "a.pgm")


def _with_chunk(path, kind, body):
    """Puts a chunk behind the header of a PNG."""
    data = path.read_bytes()
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    path.write_bytes(data[:33] + chunk + data[33:])
    return path


def fails(file, largest):
    raise AssertionError(f"{file} is told to be dark")


def test_bits_that_a_png_tells_are_full_brightness_wherever_they_are(tmp_path):
    twelve = np.random.default_rng(2).integers(0, 4096, (6, 8, 3), np.uint16)
    twelve[0, 0] = 4095
    expected = np.rint(twelve * (255 / 4095))
    low = _with_chunk(_write(tmp_path / "low.png", twelve), b"sBIT", bytes([12] * 3))
    assert np.array_equal(read_image(low, fails), expected)
    high = _with_chunk(_write(tmp_path / "high.png", twelve << 4 | twelve >> 8), b"sBIT", bytes([12] * 3))
    assert np.array_equal(read_image(high, fails), twelve >> 4)
    dark = twelve >> 5  # as the standard has it, the picture is dark, not its container half empty
    dark = _with_chunk(_write(tmp_path / "dark.png", dark << 4), b"sBIT", bytes([12] * 3))
    assert np.array_equal(read_image(dark), twelve >> 9)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_bits_that_are_empty_and_not_told_are_named(tmp_path, suffix):
    values = np.full((6, 8, 3), 3000, np.uint16)
    path = _write(tmp_path / f"a{suffix}", values)
    told = []
    assert (read_image(path, lambda *words: told.append(words)) == 3000 >> 8).all() and told == [(path, 3000)]
    for top in (2**14, 65535, 0):
        read_image(_write(path, np.full_like(values, top)), fails)
    read_image(_write(path), fails)
    read_image(_pnm(tmp_path / "a.ppm", values, 4095, False), fails)


def test_the_most_that_a_tiff_says_it_holds_tells_its_bits(tmp_path):
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo={281: 4000})
    assert np.array_equal(read_image(tmp_path / "a.tif")[..., 1], np.rint(values * (255 / 4095)))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_viewers_do(tmp_path, suffix, orientation):
    path, exif = tmp_path / f"a{suffix}", Image.Exif()
    exif[0x0112] = orientation
    large = Image.fromarray(np.kron(IMAGE, np.ones((8, 8, 1), np.uint8)))
    options = {"tiffinfo": {0x0112: orientation}} if suffix == ".tif" else {"exif": exif}
    large.save(path, **options, **({"lossless": True} if suffix == ".webp" else {}))
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert image_size(path) == expected.shape[:2] == ((104, 72) if orientation > 4 else (72, 104))
    got = read_image(path)
    assert got.flags.c_contiguous and np.abs(got.astype(int) - expected).max() <= (3 if suffix == ".jpg" else 0)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_what_stands_behind_the_end_does_not_matter(tmp_path, suffix):
    path = _write(tmp_path / f"a{suffix}")
    expected = read_image(path)
    for more in (bytes(5000), b"\0\0\0\x18ftypmp42" + bytes(range(250)) * 20):
        whole = path.read_bytes()
        path.write_bytes(whole + more)
        assert image_size(path) == (9, 13) and np.array_equal(read_image(path), expected)


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("left", [0.5, 0.97])
@pytest.mark.filterwarnings("ignore:Truncated File Read", "ignore:Corrupt EXIF")
def test_images_that_are_cut_off_are_refused_without_decoding(tmp_path, suffix, left):
    path = _write(tmp_path / f"a{suffix}", np.kron(IMAGE, np.ones((8, 8, 1), np.uint8)))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * left)])
    for read in (image_size, read_image):
        with pytest.raises(DataError) as caught:
            read(path)
        reason = "cannot be read" if suffix in (".tif", ".webp") else "cut off"
        assert str(path) in str(caught.value) and reason in str(caught.value)


@pytest.mark.skipif(importlib.util.find_spec("simplejpeg") is None, reason="needs the extra jpeg")
def test_a_jpeg_with_zeros_inside_is_refused(tmp_path):
    random = np.random.default_rng(3)
    whole = _write(tmp_path / "a.jpg", random.integers(0, 256, (64, 96, 3), np.uint8)).read_bytes()
    read_image(tmp_path / "a.jpg")
    for begin in random.integers(700, len(whole) - 300, 20):
        (tmp_path / "a.jpg").write_bytes(whole[:begin] + bytes(200) + whole[begin + 200 :])
        with pytest.raises(DataError, match="a.jpg: cannot be decoded, the file is damaged"):
            read_image(tmp_path / "a.jpg")


def test_the_end_of_a_thumbnail_is_not_that_of_the_jpeg(tmp_path):
    path = _write(tmp_path / "a.jpg")
    note = b"\xff\xe1" + struct.pack(">H", 2 + 4) + b"\xff\xd8\xff\xd9"
    whole = path.read_bytes()
    path.write_bytes(whole[:2] + note + whole[2:-2] + bytes(2000))
    for read in (image_size, read_image):
        with pytest.raises(DataError, match="a.jpg: cut off"):
            read(path)


def test_damaged_pixels_are_refused(tmp_path):
    path = _write(tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    data[60:70] = bytes(10)
    path.write_bytes(data)
    with pytest.raises(DataError, match="a.png: cannot be decoded, the file is damaged"):
        read_image(path)


@pytest.mark.parametrize("data", [b"", b"P6", b"P6 a b c", b"hello world", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused(tmp_path, data):
    path = tmp_path / "a.ppm"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        image_size(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("size", [(8193, 8192), (13_000, 13_000), (60_000, 60_000)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_that_is_too_large_is_refused_by_its_header(tmp_path, size):
    head = struct.pack(">II5B", *size, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", b"never looked at"), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    for read in (image_size, read_image):
        with pytest.raises(DataError, match="a.png: says .* 67,108,864"):
            read(tmp_path / "a.png")


def test_missing_images_and_folders(tmp_path):
    with pytest.raises(DataError, match="none.png: image is missing"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path)
    with pytest.raises(DataError, match="nowhere: frames is missing, there is no such folder"):
        check_folder(tmp_path / "nowhere", "frames")
    with pytest.raises(DataError, match="must be a folder"):
        check_folder(_write(tmp_path / "a.png"), "frames")


def test_images_of_a_folder_are_sorted_and_nothing_else(tmp_path):
    for name in ("b.png", "a.PNG", "c.ppm", "d.tif", "e.WebP", "._b.png", ".DS_Store", "Thumbs.db", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in images_in(tmp_path)] == ["a.PNG", "b.png", "c.ppm", "d.tif", "e.WebP"]


def test_names_in_upper_case_are_found_and_folders_of_systems_are_not(tmp_path):
    for name in ("@eaDir", ".AppleDouble", "#recycle", "$RECYCLE.BIN", "__MACOSX", "lost+found", "Venus", "Army"):
        (tmp_path / name).mkdir()
    for name in ("A.PNG", "a.png", "B.FLO", "._B.FLO"):
        (tmp_path / name).touch()
    assert [p.name for p in subfolders(tmp_path)] == ["Army", "Venus"]
    there = entries(tmp_path)
    assert there["a.png"].name == "a.png" and there["b.flo"].name == "B.FLO" and "._b.flo" not in there
    assert entries(tmp_path / "none") == {}
