import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from experiments.data.image_files import check_folder, image_size, images_in, read_image, read_mask
from experiments.data.pairs import DataError

IMAGE = np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)


def _write(path, image=IMAGE):
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
    return path


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".bmp"])
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


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".jpg"])
@pytest.mark.parametrize("left", [0.5, 0.97])
def test_images_that_are_cut_off_are_refused_without_decoding(tmp_path, suffix, left):
    path = _write(tmp_path / f"a{suffix}", np.kron(IMAGE, np.ones((8, 8, 1), np.uint8)))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * left)])
    for read in (image_size, read_image):
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(path) in str(caught.value) and "cut off" in str(caught.value)


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
    for name in ("b.png", "a.PNG", "c.ppm", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in images_in(tmp_path)] == ["a.PNG", "b.png", "c.ppm"]
