"""Letters: classes, typefaces, distortions."""

import unicodedata

import numpy as np
import pytest

from sklearn_fewshot.datasets import _glyphs, make_glyphs


@pytest.fixture(scope="module")
def glyphs():
    return make_glyphs(scripts=["Georgian", "Armenian"], n_per_class=14, random_state=0)


def test_every_letter_has_as_many_pictures_as_asked_for(glyphs):
    letters, count = np.unique(glyphs.target, return_counts=True)
    assert len(letters) > 80
    assert (count == 14).all()
    assert glyphs.images.shape == (14 * len(letters), 1, 28, 28)
    assert glyphs.images.dtype == np.uint8


def test_first_pictures_of_a_letter_are_in_all_typefaces(glyphs):
    for letter in np.unique(glyphs.target):
        assert len(set(glyphs.face[glyphs.target == letter][:12])) == 12


def test_script_is_that_of_the_letter(glyphs):
    for letter, script in {*zip(glyphs.target.tolist(), glyphs.script.tolist(), strict=True)}:
        assert unicodedata.name(letter).startswith(script.upper())


def test_equal_seeds_make_equal_pictures(glyphs):
    again = make_glyphs(scripts=["Georgian", "Armenian"], n_per_class=14, random_state=0)
    other = make_glyphs(scripts=["Georgian", "Armenian"], n_per_class=14, random_state=1)
    np.testing.assert_array_equal(again.images, glyphs.images)
    assert (other.images != glyphs.images).any()


def test_without_distortion_only_the_typeface_matters():
    plain = make_glyphs(scripts=["Georgian"], n_per_class=24, distortion=0.0, random_state=0)
    one = plain.target == plain.target[0]
    images, faces = plain.images[one], plain.face[one]
    for face in np.unique(faces):
        same = images[faces == face]
        assert (same == same[0]).all()


def test_undistorted_letters_are_centred_and_fill_three_quarters():
    plain = make_glyphs(scripts=["Armenian"], n_per_class=12, distortion=0.0, random_state=0)
    ink = plain.images[:, 0] > 64
    for axis in (1, 2):
        used = ink.any(axis=axis)
        first, last = used.argmax(axis=1), 27 - used[:, ::-1].argmax(axis=1)
        assert np.abs(first + last - 27).max() <= 2
    longest = np.maximum(ink.any(axis=1).sum(axis=1), ink.any(axis=2).sum(axis=1))
    assert longest.min() >= 18
    assert longest.max() <= 23


def test_look_alikes_are_one_class():
    letters, _, _ = _glyphs._alphabet()
    assert "A" in letters
    assert "\N{GREEK CAPITAL LETTER ALPHA}" not in letters
    assert "\N{CYRILLIC CAPITAL LETTER A}" not in letters
    assert "\N{CYRILLIC CAPITAL LETTER ZHE}" in letters
    assert len(letters) > 1000


def test_return_X_y_and_size():
    X, y = make_glyphs(scripts=["Georgian"], n_per_class=1, size=20, return_X_y=True)
    assert X.shape == (len(y), 1, 20, 20)


def test_unknown_script_is_named():
    with pytest.raises(ValueError, match=r"must name scripts of .*'Greek'.*Got \['Klingon'\]"):
        make_glyphs(scripts=["Klingon"])
