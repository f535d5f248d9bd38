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
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        local = archive._replace(url=path.as_uri(), sha256=sha256)
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
    monkeypatch.setattr(_omniglot, "_download", lambda archive: pytest.fail("downloaded twice"))
    check(fetch_omniglot(data_home=tmp_path / "home", download_if_missing=False))


def test_wrong_checksum_leaves_nothing(served, tmp_path, monkeypatch):
    archive = _omniglot.ARCHIVES["background"]._replace(sha256="0" * 64)
    monkeypatch.setitem(_omniglot.ARCHIVES, "background", archive)
    with pytest.raises(OSError, match=r"SHA-256 checksum .* Try again, or pass folder="):
        fetch_omniglot(data_home=tmp_path / "home", subset="background")
    assert not list((tmp_path / "home").rglob("*.*"))


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


def test_rows_are_in_one_order_whatever_the_source(archives, served, tmp_path):
    shuffled = tmp_path / "shuffled"
    shuffled.mkdir()
    for path in archives.glob("*.zip"):
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(shuffled / path.name, "w") as new:
            for name in reversed(old.namelist()):
                new.writestr(name, old.read(name))
    one = fetch_omniglot(folder=archives)
    for other in (fetch_omniglot(folder=shuffled), fetch_omniglot(data_home=tmp_path / "home")):
        for name in ("images", "target", "alphabet", "character", "drawer", "subset"):
            np.testing.assert_array_equal(one[name], other[name])


def test_files_that_are_no_pictures_are_passed_over(archives):
    with zipfile.ZipFile(archives / "images_background.zip", "a") as file:
        file.writestr("__MACOSX/images_background/Alpha/character01/._0000_01.png", b"junk")
        file.writestr("images_background/.DS_Store", b"junk")
    check(fetch_omniglot(folder=archives))


def test_other_pictures_are_named(archives, tmp_path):
    small = BytesIO()
    Image.new("1", (28, 28)).save(small, format="png")
    with zipfile.ZipFile(archives / "images_background.zip", "a") as file:
        file.writestr("images_background/Alpha/character09/0009_01.png", small.getvalue())
    with pytest.raises(ValueError, match=r"105 x 105 pixels, but .*0009_01\.png has 28 x 28"):
        fetch_omniglot(folder=archives)
    (tmp_path / "empty" / "images_background").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="no image Alphabet/characterNN"):
        fetch_omniglot(folder=tmp_path / "empty", subset="background")


def test_broken_connection_says_what_to_do(served, tmp_path, monkeypatch):
    def broken(url, timeout):
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(_omniglot, "urlopen", broken)
    with pytest.raises(OSError, match=r"could not be downloaded .*reset by peer.* Pass folder="):
        fetch_omniglot(data_home=tmp_path / "home")


def test_resampling_keeps_the_mean_and_the_original():
    rng = np.random.default_rng(0)
    ink = rng.random((4, 105, 105)) < 0.3
    bits = np.packbits(ink.reshape(4, -1), axis=1)
    np.testing.assert_array_equal(_omniglot._unpack(bits, 105), 255 * ink)
    fifth = 255 * ink.reshape(4, 21, 5, 21, 5).mean(axis=(2, 4))
    np.testing.assert_allclose(_omniglot._unpack(bits, 21), fifth, atol=1)


def test_characters_group_their_rotations(archives):
    data = fetch_omniglot(folder=archives, rotations=True)
    np.testing.assert_array_equal(data.character, [name.split("@")[0] for name in data.target])


def test_resampling_is_that_of_pillow(load_data):
    """Which made the pictures of 28 x 28 of those of 105 x 105."""
    images = load_data("omniglot/omniglot_28.npz")["images"][::50]
    bits = load_data("omniglot/omniglot_105_bits.npz")["bits"][::50]
    resampled = _omniglot._unpack(bits.reshape(-1, bits.shape[-1]), 28)
    np.testing.assert_array_equal(resampled, images.reshape(-1, 28, 28))
