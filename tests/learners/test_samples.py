"""One picture gives one embedding, wherever it comes from; texts are samples, too."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_fewshot import FrozenEncoder, adapt
from sklearn_fewshot.datasets import load_images


class Lazy(Sequence):
    """Entries that are made when they are asked for, by whole numbers only."""

    def __init__(self, values, decode):
        self.values, self.decode, self.n_decoded = values, decode, 0

    def __len__(self):
        return len(self.values)

    def __getitem__(self, row):
        assert type(row) is int
        self.n_decoded += 1
        return self.decode(self.values[row])


def picture(path):
    with Image.open(path) as file:
        file.load()
        return file


@pytest.fixture
def paths(tmp_path):
    """Photos of several sizes, one of which lies on its side."""
    rng = np.random.default_rng(0)
    turned = Image.Exif()
    turned[0x0112] = 6
    files = []
    for k, shape in enumerate([(20, 30, 3), (24, 24, 3), (40, 18, 3)]):
        files.append(str(tmp_path / f"{k}.png"))
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(files[-1], exif=turned if k == 1 else None)
    return files


def contents(path):
    with open(path, "rb") as file:
        return file.read()


SOURCES = {
    "bytes": lambda paths: [contents(path) for path in paths],
    "views": lambda paths: [memoryview(contents(path)) for path in paths],
    "Pillow": lambda paths: [picture(path) for path in paths],
    "tuple": lambda paths: tuple(picture(path) for path in paths),
    "mixture": lambda paths: [paths[0], contents(paths[1]), picture(paths[2])],
    "undecoded": lambda paths: [{"bytes": contents(path), "path": None} for path in paths],
    "undecoded paths": lambda paths: [{"bytes": None, "path": path} for path in paths],
    "lazy": lambda paths: Lazy(paths, picture),
    "column": lambda paths: pd.Series([picture(path) for path in paths]),
    "column of bytes": lambda paths: pl.Series([contents(path) for path in paths]),
    "frame": lambda paths: pd.DataFrame({"image": [{"bytes": contents(p)} for p in paths]}),
    "strings": lambda paths: pd.Series(paths, dtype="string"),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("is_fitted", [True, False], ids=["fitted", "not fitted"])
def test_a_picture_is_embedded_as_its_file_is(paths, source, is_fitted):
    encoder = FrozenEncoder(size=(8, 6), batch_size=2)
    expected = FrozenEncoder().transform(load_images(paths, size=(8, 6)))
    if is_fitted:
        encoder.fit(source(paths))
    np.testing.assert_array_equal(encoder.transform(paths), expected)
    np.testing.assert_array_equal(encoder.transform(source(paths)), expected)


def test_a_lazy_column_is_read_once_and_a_batch_at_a_time(paths):
    X, n_decoded = Lazy(paths, picture), []

    def network(batch):
        n_decoded.append(X.n_decoded)
        return batch.mean(axis=(2, 3))

    FrozenEncoder(network, size=8, batch_size=1).transform(X)
    first = n_decoded[0]
    assert n_decoded == [first, first + 1, first + 2]
    assert X.n_decoded <= len(X) + 1  # the first tells what X holds


def test_a_size_is_given_before_preprocess_and_to_pictures_alone(paths):
    seen = []
    encoder = FrozenEncoder(preprocess=lambda it: seen.append(it) or np.zeros(2), size=[8, 6])
    encoder.transform(paths)
    assert [it.size for it in seen] == [(6, 8)] * 3
    seen.clear()
    encoder.transform(np.zeros((2, 3, 5, 5)))
    assert [it.shape for it in seen] == [(3, 5, 5)] * 2
    for size in (0, (8, 0), (8,)):
        with pytest.raises(ValueError, match=r"'size' parameter of FrozenEncoder must be"):
            FrozenEncoder(size=size).transform(paths)


def test_pictures_without_a_path_are_named_by_their_row(paths):
    X = [contents(paths[0]), b"no picture"]
    with pytest.raises(ValueError, match="FrozenEncoder cannot read row 1 as an image"):
        FrozenEncoder(size=8).transform(X)
    deep = Image.fromarray(np.full((8, 8), 3000, dtype=np.uint16))
    with pytest.raises(ValueError, match="image row 1 has more than 8 bits"):
        FrozenEncoder(size=8).transform([paths[0], deep])
    for single in (X[0], picture(paths[0]), paths[0]):
        with pytest.raises(ValueError, match=r"Got a single .* Put it into a list"):
            FrozenEncoder().transform(single)
    with pytest.raises(ValueError, match=r"pictures only .* Got 1 .*BytesIO"):
        FrozenEncoder().transform([X[0], io.BytesIO(X[0])])


# ------------------------------------------------------------------ texts

TEXTS = ["red", "dark red", "blue", "pale blue", "sky blue", "red red"]


def count_letters(texts):
    assert type(texts) is list
    return np.array([[text.count(letter) for letter in "redblu"] for text in texts], dtype=float)


class CountLetters(nn.Module):
    """Differs between training and evaluation."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, texts):
        return self.dropout(torch.from_numpy(count_letters(texts)))


@pytest.mark.parametrize("module", [count_letters, CountLetters()], ids=["function", "module"])
@pytest.mark.parametrize(
    "kind", [list, tuple, np.array, pd.Series, pl.Series, lambda it: Lazy(it, str)]
)
@pytest.mark.parametrize("batch_size", [2, 64])
def test_texts_are_samples(module, kind, batch_size):
    encoder = FrozenEncoder(module, mode="text", batch_size=batch_size)
    X = kind(TEXTS)
    np.testing.assert_array_equal(encoder.transform(X), count_letters(TEXTS))
    np.testing.assert_array_equal(encoder.fit(X).transform(X), count_letters(TEXTS))


def test_preprocess_gets_one_text_and_returns_a_text_or_numbers():
    upper = FrozenEncoder(count_letters, str.upper, mode="text")
    assert (upper.transform(TEXTS) == 0).all()
    numbers = FrozenEncoder(preprocess=lambda text: count_letters([text])[0], mode="text")
    np.testing.assert_array_equal(numbers.transform(TEXTS), count_letters(TEXTS))


def test_new_classes_of_texts():
    pipeline = make_pipeline(FrozenEncoder(count_letters, mode="text"), KNeighborsClassifier(1))
    pipeline.fit(TEXTS, [0, 0, 1, 1, 1, 0])
    assert pipeline.predict(["so blue", "a red one"]).tolist() == [1, 0]
    assert clone(pipeline)[0].mode == "text"


def test_what_is_no_text_is_named():
    for X, got in ((["a", None], "None in row 1"), (np.zeros((3, 2)), r"shape \(3, 2\)")):
        with pytest.raises(ValueError, match=f"one string a sample. Got {got}"):
            FrozenEncoder(count_letters, mode="text").transform(X)
    with pytest.raises(FileNotFoundError, match=r"'red'.* set mode='text'"):
        FrozenEncoder(count_letters).transform(TEXTS)


# ------------------------------------------------------------------ data frames out


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_without_fit_columns_are_named_as_with_it(paths, output):
    encoder = FrozenEncoder(size=2).set_output(transform=output)
    for X in (paths, pd.Series(paths, index=[5, 3, 8]), load_images(paths, size=2)):
        frame = encoder.transform(X)
        assert not hasattr(encoder, "embedding_dim_")
        fitted = clone(encoder).fit(X)
        assert list(frame.columns) == list(fitted.get_feature_names_out())
        assert frame.equals(fitted.transform(X))
        assert frame.equals(fitted.fit_transform(X))
        assert type(frame).__module__.startswith(output)
    with pytest.raises(NotFittedError):
        encoder.get_feature_names_out()


def test_an_index_stays_with_its_rows(paths):
    encoder = FrozenEncoder(size=2).set_output(transform="pandas")
    frame = pd.DataFrame({"path": paths}, index=[5, 3, 8])
    assert encoder.transform(frame).index.tolist() == [5, 3, 8]


def test_data_frames_go_to_new_classes(make_learner, table):
    pipeline = make_pipeline(FrozenEncoder(lambda rows: rows + 1), make_learner())
    pipeline.set_output(transform="pandas")
    pipeline.fit(table.X, table.y)
    support = np.unique(table.y_new, return_index=True)[1]
    adapted = adapt(pipeline, table.X_new[support], table.y_new[support])
    assert adapted.score(table.X_new, table.y_new) > 0.6
