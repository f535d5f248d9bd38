"""Pictures of any kind and size become one array, and pipelines take files."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from sklearn_fewshot import (
    PictureReader,
    ProtoNetClassifier,
    adapt,
    load_model,
    make_fewshot_pipeline,
    save_model,
)
from sklearn_fewshot.datasets import load_images
from sklearn_fewshot.model_selection import episodic_score

RNG = np.random.default_rng(0)


def noise(height, width, mode="RGB"):
    """A picture without a symmetry."""
    pixels = RNG.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def content(picture, **options):
    """The bytes of a file without losses."""
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Paths of pictures of six classes, each a colour with noise, of many sizes; and the labels."""
    folder = tmp_path_factory.mktemp("photos")
    paths, labels = [], []
    for label, color in enumerate(np.eye(3).tolist() + (1 - np.eye(3)).tolist()):
        for number in range(8):
            shape = RNG.integers(20, 40, size=2)
            pixels = 150 * np.array(color) + RNG.integers(0, 100, size=(*shape, 3))
            path = folder / f"{label}-{number}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(path)
            paths.append(str(path))
            labels.append(label)
    return np.array(paths), np.array(labels)


def test_files_are_read_as_by_load_images(photos):
    paths, _ = photos
    for size, mode in ((16, "RGB"), ((12, 20), "L")):
        images = PictureReader(size, mode=mode).fit_transform(paths)
        assert images.dtype == np.uint8
        np.testing.assert_array_equal(images, load_images(list(paths), size=size, mode=mode))


def test_it_takes_pictures_in_any_form(tmp_path):
    picture = noise(30, 40)
    path = tmp_path / "picture.png"
    picture.save(path)
    pixels = np.asarray(picture)
    forms = [path, str(path), content(picture), bytearray(content(picture)), picture]
    forms += [{"bytes": content(picture), "path": None}, {"bytes": None, "path": str(path)}]
    forms += [pixels, np.moveaxis(pixels, -1, 0)]
    images = PictureReader(16).transform(forms)
    assert (images == images[0]).all()
    np.testing.assert_array_equal(images[:1], load_images([path], size=16))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("kind", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_modes_are_unified(kind, mode):
    picture = noise(20, 20).convert("L").convert(kind) if kind == "LA" else noise(20, 20, kind)
    image = PictureReader(20, mode=mode).transform([picture])[0]
    expected = np.asarray(picture.convert(mode))
    np.testing.assert_array_equal(image, np.atleast_3d(expected).transpose(2, 0, 1))


def test_photos_are_turned_upright():
    upright = noise(20, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn by a quarter, clockwise
    turned = content(upright.transpose(Image.Transpose.ROTATE_90), exif=exif)
    images = PictureReader((20, 30)).transform([upright, turned])
    np.testing.assert_array_equal(images[0], images[1])


@pytest.mark.parametrize("shape", [(4, 20, 30), (4, 20, 30, 3), (4, 3, 20, 30), (4, 20, 30, 1)])
def test_arrays_of_pictures_are_pictures(shape):
    X = RNG.integers(0, 256, size=shape, dtype=np.uint8)
    images = PictureReader((20, 30)).transform(X)
    assert images.shape == (4, 3, 20, 30)
    first = X[0] if X.ndim == 4 else X[0, :, :, None]
    first = first if first.shape[0] == 3 else np.moveaxis(first, -1, 0)
    np.testing.assert_array_equal(images[0], np.broadcast_to(first, (3, 20, 30)))


def test_columns_of_tables_are_pictures(photos):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"file": photos[0][:3]})
    expected = PictureReader(8).transform(photos[0][:3])
    for column in (frame["file"], frame[["file"]]):
        np.testing.assert_array_equal(PictureReader(8).transform(column), expected)


def test_a_pipeline_takes_files_everywhere(photos, tmp_path):
    paths, y = photos
    new, few = y >= 4, np.arange(len(y)) % 8 < 2
    short = {"n_way": 4, "max_epochs": 3, "random_state": 0, "validation_fraction": 0.0}
    pipe = make_fewshot_pipeline(PictureReader(16), ProtoNetClassifier(**short))
    pipe.fit(paths[~new], y[~new])
    classifier = pipe.adapt(paths[new & few], y[new & few])
    assert classifier.score(paths[new & ~few], y[new & ~few]) > 0.9
    assert episodic_score(pipe, paths[new], y[new], n_way=2, n_query=4, n_episodes=5).mean > 0.9
    by_function = adapt(pipe, paths[new & few], y[new & few])
    save_model(by_function, tmp_path / "model.fsl")
    loaded = load_model(tmp_path / "model.fsl")
    expected = classifier.predict_proba(paths[new])
    np.testing.assert_allclose(loaded.predict_proba(paths[new]), expected, atol=1e-6)


def test_it_is_a_transformer_that_learns_nothing(photos):
    reader = PictureReader((8, 9), mode="L")
    check_is_fitted(reader)
    expected = reader.transform(photos[0])
    for copied in (clone(reader), pickle.loads(pickle.dumps(reader))):
        assert repr(copied) == repr(reader) == "PictureReader(mode='L', size=(8, 9))"
        np.testing.assert_array_equal(copied.transform(photos[0]), expected)


def test_a_bar_counts_the_pictures(photos, capsys):
    PictureReader(8, verbose=1).transform(photos[0][:5])
    assert "reading" in capsys.readouterr().err


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("photo.png", ValueError, r"Got one: pass it as \[picture\]"),
        (noise(8, 8), ValueError, r"Got one: pass it as \[picture\]"),
        ([], ValueError, "Got none"),
        (np.zeros((5, 7)), ValueError, r"Got an array of shape \(5, 7\)"),
        (None, ValueError, "must be a list"),
        ([b"no picture"], ValueError, "PictureReader cannot read row 0 as an image"),
        ([noise(8, 8), 3.5], ValueError, "Got float 3.5 in row 1"),
        (["nowhere.png"], FileNotFoundError, "1 of the 1 paths .* such as 'nowhere.png'"),
        (np.zeros((2, 8, 8)), ValueError, r"8 bits .* Got dtype float64 and shape \(8, 8\)"),
        ([np.zeros((8, 8, 2), np.uint8)], ValueError, r"shape \(8, 8, 2\) in row 0"),
        ([np.zeros((0, 8), np.uint8)], ValueError, r"shape \(0, 8\) in row 0"),
        ([Image.new("I;16", (8, 8))], ValueError, "more than 8 bits"),
    ],
    ids=lambda it: None,
)
def test_what_is_no_picture_is_refused(X, error, message):
    reader = PictureReader(8)
    with pytest.raises(error, match=message):
        reader.fit(X).transform(X)
    with pytest.raises(error, match=message):
        reader.transform(X)


@pytest.mark.parametrize("params", [{"size": 0}, {"size": (3,)}, {"size": None}, {"mode": "CMYK"}])
def test_parameters_are_checked(params, photos):
    (name,) = params
    for method in ("fit", "transform"):
        with pytest.raises(ValueError, match=f"The '{name}' parameter of PictureReader must be"):
            getattr(PictureReader(**params), method)(photos[0])
