"""Pictures in class folders, which the test writes."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sklearn_fewshot.datasets import load_image_folder, load_images

LABELS = ("pear", "apple")


def pixels(seed, height=12, width=10):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def photos(tmp_path):
    """Two classes of three pictures each, of one size."""
    for c, label in enumerate(LABELS):
        (tmp_path / label).mkdir()
        for k in range(3):
            Image.fromarray(pixels(10 * c + k)).save(tmp_path / label / f"{k}.png")
    return tmp_path


def test_rows_are_sorted_by_class_and_name(photos):
    data = load_image_folder(photos)
    assert data.images.shape == (6, 3, 12, 10)
    assert data.images.dtype == np.uint8
    assert data.target.tolist() == ["apple"] * 3 + ["pear"] * 3
    assert data.target_names.tolist() == ["apple", "pear"]
    assert data.filenames.tolist() == [
        str(photos / label / f"{k}.png") for label in ("apple", "pear") for k in range(3)
    ]
    np.testing.assert_array_equal(data.images[1], np.moveaxis(pixels(11), -1, 0))
    images, target = load_image_folder(str(photos), return_X_y=True)
    np.testing.assert_array_equal(images, data.images)
    np.testing.assert_array_equal(target, data.target)


def test_grey_has_one_channel(photos):
    images = load_image_folder(photos, mode="L").images
    assert images.shape == (6, 1, 12, 10)
    expected = np.asarray(Image.fromarray(pixels(10)).convert("L"))
    np.testing.assert_array_equal(images[0, 0], expected)


@pytest.mark.parametrize("size", [8, (6, 9), [12, 10]])
def test_pictures_are_brought_to_a_size(photos, size):
    Image.fromarray(pixels(5, 30, 50)).save(photos / "apple" / "large.png")
    shape = (size, size) if isinstance(size, int) else tuple(size)
    assert load_image_folder(photos, size=size).images.shape == (7, 3, *shape)


def test_resizing_crops_the_middle_and_stretches_nothing(photos):
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20] = 200
    Image.fromarray(wide).save(photos / "apple" / "0.png")
    image = load_image_folder(photos, size=5).images[0]
    assert (image[:, :, 1:-1] == 200).all()  # the filter reaches over the edge


def test_photos_stand_upright(photos):
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    Image.fromarray(pixels(0)).save(photos / "apple" / "0.png", exif=turned)
    image = load_image_folder(photos).images[0]
    np.testing.assert_array_equal(image, np.moveaxis(pixels(0)[::-1, ::-1], -1, 0))


def test_sizes_that_differ_need_a_size(photos):
    Image.fromarray(pixels(5, 30, 50)).save(photos / "pear" / "large.jpg")
    with pytest.raises(ValueError, match=r"0\.png' has 12 x 10, '.*large\.jpg' has 30 x 50.*size="):
        load_image_folder(photos)


def test_hidden_files_are_ignored(photos):
    (photos / ".DS_Store").write_text("")
    (photos / ".cache").mkdir()
    (photos / "apple" / "._0.png").write_text("no picture")
    assert len(load_image_folder(photos).images) == 6


def test_other_files_are_skipped_with_one_warning(photos):
    (photos / "README.txt").write_text("")
    (photos / "loose.png").write_bytes((photos / "apple" / "0.png").read_bytes())
    (photos / "apple" / "notes.md").write_text("")
    (photos / "pear" / "Thumbs.db").write_text("")
    with pytest.warns(UserWarning, match=r"skipped 4 files .*README.txt, .*, \.\.\.") as caught:
        assert len(load_image_folder(photos).images) == 6
    assert [warning.filename for warning in caught] == [__file__]


def test_a_broken_picture_is_named(photos):
    (photos / "pear" / "3.jpg").write_text("no picture")
    with pytest.raises(ValueError, match=r"load_image_folder cannot read '.*3\.jpg'"):
        load_image_folder(photos)


@pytest.mark.parametrize("suffix", ["PNG", "jpg", "webp", "gif", "bmp"])
def test_suffixes_of_pictures(photos, suffix):
    Image.fromarray(pixels(1)).save(photos / "pear" / f"x.{suffix}")
    assert len(load_image_folder(photos).images) == 7


# ------------------------------------------------------------------ folders that are none


def test_a_folder_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder '.*nowhere'"):
        load_image_folder(tmp_path / "nowhere")


def test_a_folder_must_hold_class_folders(tmp_path, photos):
    with pytest.raises(FileNotFoundError, match="found images but no class folders"):
        load_image_folder(photos / "apple")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="found no class folders"):
        load_image_folder(tmp_path / "empty")


def test_a_class_needs_pictures(photos):
    (photos / "quince").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no images in the class folder '.*quince'"):
        load_image_folder(photos)
    (photos / "quince" / "readme.txt").write_text("")
    with pytest.raises(FileNotFoundError, match=r"no images in the class folder '.*quince'"):
        load_image_folder(photos)


def test_classes_are_not_nested(photos):
    (photos / "apple" / "green").mkdir()
    with pytest.raises(ValueError, match=r"'.*apple' holds the folder 'green'"):
        load_image_folder(photos)


@pytest.mark.parametrize("size", [(8,), (8, 0), (8, 8, 3), ("8", 8)])
def test_sizes_that_are_none(photos, size):
    with pytest.raises(ValueError, match="'size' parameter of load_image_folder must be"):
        load_image_folder(photos, size=size)
    with pytest.raises(ValueError, match="'size' parameter of load_image_folder must be"):
        load_image_folder(photos, size=0)


def test_pillow_is_asked_for_where_it_is_missing(photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"load_image_folder needs Pillow .* pip install"):
        load_image_folder(photos)


def test_reading_shows_how_far_it_is_if_asked(photos, capsys):
    load_image_folder(photos)
    assert capsys.readouterr().err == ""
    data = load_image_folder(photos, verbose=1)
    assert "reading:" in capsys.readouterr().err
    load_images(data.filenames, verbose=1)
    assert "reading:" in capsys.readouterr().err


# ------------------------------------------------------------------ images to be classified


@pytest.mark.parametrize("options", [{}, {"size": (8, 5)}, {"size": 6, "mode": "L"}])
def test_images_are_read_as_those_of_folders_are(photos, options):
    data = load_image_folder(photos, **options)
    for paths in (data.filenames, data.filenames.tolist(), list(map(Path, data.filenames))):
        np.testing.assert_array_equal(load_images(paths, **options), data.images)
    contents = [Path(name).read_bytes() for name in data.filenames]
    np.testing.assert_array_equal(load_images(contents, **options), data.images)


@pytest.fixture
def broken(photos):
    """Files that cannot be read, among others."""
    names = [photos / "apple" / "0.png", *(photos / "pear" / f"{k}.jpg" for k in range(6))]
    for name in names:
        name.write_text("no picture")
    return list(map(str, names))


def test_broken_files_are_left_out_with_a_warning_that_names_all(photos, broken):
    with pytest.raises(ValueError, match=r"cannot read '.*0\.png'"):
        load_image_folder(photos)
    with pytest.warns(UserWarning, match="left out 7 of 12 images") as caught:
        data = load_image_folder(photos, on_error="skip")
    assert [warning.filename for warning in caught] == [__file__]
    assert all(repr(name) in str(caught[0].message) for name in broken)
    assert data.target.tolist() == ["apple"] * 2 + ["pear"] * 3
    assert not set(broken) & set(data.filenames)
    np.testing.assert_array_equal(data.images, load_images(data.filenames))

    paths = [broken[0], *data.filenames[:3], broken[1], data.filenames[4], "nowhere.png"]
    with pytest.warns(UserWarning, match=r"left out 3 of 7 .*'nowhere\.png'") as caught:
        images, index = load_images(paths, on_error="skip", return_index=True)
    assert [warning.filename for warning in caught] == [__file__]
    assert index.tolist() == [1, 2, 3, 5]
    np.testing.assert_array_equal(images, data.images[[0, 1, 2, 4]])
    with pytest.raises(ValueError, match="none of the 7 images"):
        load_images(broken, on_error="skip")
    with pytest.raises(FileNotFoundError, match=r"load_images found no image 'nowhere\.png'"):
        load_images(["nowhere.png"])
    empty = {"bytes": None, "path": None}
    with pytest.raises(ValueError, match="neither bytes nor a path"):
        load_images([empty])
    with pytest.warns(UserWarning, match="left out 2 of 3 images"):
        assert len(load_images([empty, data.filenames[0], {"bytes": None}], on_error="skip")) == 1


def test_what_is_no_sequence_of_images(photos):
    with pytest.raises(TypeError, match=r"Got a single one: pass it as \[image\]"):
        load_images(photos / "apple" / "0.png")
    with pytest.raises(TypeError, match="type int at position 1"):
        load_images([photos / "apple" / "0.png", 3])
    Image.fromarray(pixels(5, 30, 50)).save(photos / "large.png")
    with pytest.raises(ValueError, match=r"0\.png' has 12 x 10, '.*large.png' has 30 x 50.*size="):
        load_images([photos / "apple" / "0.png", photos / "large.png"])
