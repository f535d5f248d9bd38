"""Omniglot from a small archive of the same layout that the test makes."""

import hashlib
import zipfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sklearn_fewshot.datasets import _omniglot, fetch_omniglot

N_CHARACTERS, N_DRAWERS = 2, 3
ALPHABETS = {"background": ("Alpha", "Beta"), "evaluation": ("Gamma",)}


def picture(seed):
    """Black ink on white, 105 x 105, with one black quarter that tells the pictures apart."""
    pixels = np.full((105, 105), 255, dtype=np.uint8)
    row, column = divmod(seed % 4, 2)
    pixels[52 * row : 52 * row + 40, 52 * column : 52 * column + 40] = 0
    file = BytesIO()
    Image.fromarray(pixels).convert("1").save(file, format="png")
    return file.getvalue()


@pytest.fixture
def archives(tmp_path):
    """A folder with the two archives."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for subset, alphabets in ALPHABETS.items():
        with zipfile.ZipFile(folder / f"images_{subset}.zip", "w") as file:
            for a, alphabet in enumerate(alphabets):
                for c in range(N_CHARACTERS):
                    for d in range(N_DRAWERS):
                        path = f"images_{subset}/{alphabet}/character{c + 1:02d}"
                        file.writestr(f"{path}/{a:04d}_{d + 1:02d}.png", picture(a + c + d))
    return folder


@pytest.fixture
def served(archives, monkeypatch):
    """Archives that are downloaded from the folder, with right checksums."""
    for subset, archive in _omniglot.ARCHIVES.items():
        path = archives / archive.filename
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        local = archive._replace(url=path.as_uri(), md5=md5)
        monkeypatch.setitem(_omniglot.ARCHIVES, subset, local)
    return archives


def check(data):
    n_samples = 3 * N_CHARACTERS * N_DRAWERS
    assert data.images.shape == (n_samples, 1, 28, 28)
    assert data.images.dtype == np.uint8
    assert len(set(data.target)) == 3 * N_CHARACTERS
    assert data.target[0] == "Alpha/character01"
    assert data.drawer[:3].tolist() == ["Alpha/0", "Alpha/1", "Alpha/2"]
    assert set(data.subset[data.alphabet == "Gamma"]) == {"evaluation"}
    # Ink is 255: the first picture has it in its first quarter.
    assert data.images[0, 0, 2, 2] == 255
    assert data.images[0, 0, -2, -2] == 0


def test_from_a_folder_of_archives(archives):
    check(fetch_omniglot(folder=archives))


def test_from_an_unpacked_folder(archives, tmp_path):
    for path in archives.glob("*.zip"):
        with zipfile.ZipFile(path) as file:
            file.extractall(tmp_path / "unpacked")
    check(fetch_omniglot(folder=tmp_path / "unpacked"))


def test_download_is_cached(served, tmp_path, monkeypatch):
    check(fetch_omniglot(data_home=tmp_path / "home"))
    monkeypatch.setattr(_omniglot, "urlopen", lambda url: pytest.fail("downloaded twice"))
    check(fetch_omniglot(data_home=tmp_path / "home", download_if_missing=False))


def test_wrong_checksum_leaves_nothing(served, tmp_path, monkeypatch):
    archive = _omniglot.ARCHIVES["background"]._replace(md5="0" * 32)
    monkeypatch.setitem(_omniglot.ARCHIVES, "background", archive)
    with pytest.raises(OSError, match=r"MD5 checksum .* Try again, or pass folder="):
        fetch_omniglot(data_home=tmp_path / "home", subset="background")
    assert not list((tmp_path / "home" / "omniglot").iterdir())


def test_offline_says_what_to_do(served, tmp_path, monkeypatch):
    archive = _omniglot.ARCHIVES["background"]
    nowhere = archive._replace(url=(tmp_path / "nowhere.zip").as_uri())
    monkeypatch.setitem(_omniglot.ARCHIVES, "background", nowhere)
    with pytest.raises(OSError, match=r"could not be downloaded .* Pass folder="):
        fetch_omniglot(data_home=tmp_path / "home", subset="background")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither images_background\.zip nor a folder"):
        fetch_omniglot(folder=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"not in the cache .* download_if_missing=True"):
        fetch_omniglot(data_home=tmp_path, download_if_missing=False)


def test_rotations_are_classes(archives):
    plain = fetch_omniglot(folder=archives)
    data = fetch_omniglot(folder=archives, rotations=True)
    assert len(set(data.target)) == 4 * len(set(plain.target))
    quarter = data.images[data.target == "Alpha/character01@90"]
    np.testing.assert_array_equal(
        quarter, np.rot90(plain.images[plain.target == "Alpha/character01"], axes=(-2, -1))
    )


def test_size_subset_and_return_X_y(archives):
    X, y = fetch_omniglot(folder=archives, subset="evaluation", size=105, return_X_y=True)
    assert X.shape == (N_CHARACTERS * N_DRAWERS, 1, 105, 105)
    assert y[0] == "Gamma/character01"


def test_prepared_file(data_dir):
    data = fetch_omniglot(folder=data_dir / "omniglot")
    assert data.images.shape == (32460, 1, 28, 28)
    assert len(set(data.target)) == 1623
    assert len(set(data.target[data.split == "test"])) == 423
    assert len(set(data.alphabet[data.subset == "background"])) == 30
