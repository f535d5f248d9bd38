"""Letters: classes, typefaces, distortions."""

import sys
import unicodedata

import matplotlib
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from sklearn_fewshot.datasets import make_glyphs


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


def test_undistorted_letters_are_centred_and_fill_the_picture():
    plain = make_glyphs(scripts=["Armenian"], n_per_class=12, distortion=0.0, random_state=0)
    ink = plain.images[:, 0] > 64
    for axis in (1, 2):
        used = ink.any(axis=axis)
        first, last = used.argmax(axis=1), 27 - used[:, ::-1].argmax(axis=1)
        assert np.abs(first + last - 27).max() <= 2
    longest = np.maximum(ink.any(axis=1).sum(axis=1), ink.any(axis=2).sum(axis=1))
    assert longest.min() >= 0.5 * 28
    assert longest.max() <= 0.85 * 28
    assert np.median(longest) >= 0.65 * 28


@pytest.mark.parametrize("distortion", [1.0, 4.0])
def test_no_ink_is_cut_off(distortion):
    images = make_glyphs(
        scripts=["Georgian"], n_per_class=12, size=64, distortion=distortion, random_state=0
    ).images[:, 0]
    rim = np.ones((64, 64), dtype=bool)
    rim[1:-1, 1:-1] = False
    assert images[:, rim].max() == 0
    assert images.max() == 255


def test_look_alikes_are_one_class():
    target = make_glyphs(scripts=["Latin", "Greek", "Cyrillic"], n_per_class=1).target
    letters = set(target.tolist())
    assert len(letters) == len(target) > 1000
    assert letters >= {*"AaCcOo", "\N{GREEK SMALL LETTER PI}", "\N{CYRILLIC CAPITAL LETTER ZHE}"}
    assert not letters & {
        "\N{GREEK CAPITAL LETTER ALPHA}",
        "\N{CYRILLIC CAPITAL LETTER A}",
        "\N{CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I}",
        "\N{KELVIN SIGN}",
    }
    greek = make_glyphs(scripts="Greek", n_per_class=1).target
    assert "\N{GREEK CAPITAL LETTER ALPHA}" in greek


def test_classes_look_different():
    glyphs = make_glyphs(scripts=["Armenian", "Georgian"], n_per_class=12, distortion=0.0)
    regular = glyphs.images[glyphs.face == "DejaVuSans"].reshape(-1, 28 * 28) / 255.0
    norm = np.linalg.norm(regular, axis=1)
    difference = cdist(regular, regular) / np.maximum.outer(norm, norm)
    assert difference[np.triu_indices(len(regular), 1)].min() > 0.08


def test_fewer_classes_are_drawn_at_random():
    draws = [set(make_glyphs(n_classes=20, n_per_class=1, random_state=s).target) for s in (0, 1)]
    assert len(draws[0]) == len(draws[1]) == 20
    assert draws[0] != draws[1]
    with pytest.raises(ValueError, match=r"at most the number of letters .*43\. Got 44\. More"):
        make_glyphs(scripts="Georgian", n_classes=44)


def test_fewer_faces_give_more_scripts():
    glyphs = make_glyphs(scripts=["Hebrew", "Lao"], min_faces=4, n_per_class=8, random_state=0)
    assert set(glyphs.script) == {"Hebrew", "Lao"}
    n_faces = {len(set(glyphs.face[glyphs.target == letter])) for letter in set(glyphs.target)}
    assert n_faces == {4, 8}
    with pytest.raises(ValueError, match=r"min_faces=12 .*Got \['Hebrew'\]\. A lower min_faces"):
        make_glyphs(scripts="Hebrew")


def test_settings_of_the_user_do_not_change_the_pictures(glyphs):
    odd = {"path.snap": False, "path.sketch": (9, 9, 9), "text.hinting": "none"}
    with matplotlib.rc_context(odd):
        again = make_glyphs(scripts=["Georgian", "Armenian"], n_per_class=14, random_state=0)
    np.testing.assert_array_equal(again.images, glyphs.images)


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.ft2font", None)
    with pytest.raises(ImportError, match=r"sklearn-fewshot\[plot\]"):
        make_glyphs()


def test_return_X_y_and_size():
    X, y = make_glyphs(scripts=["Georgian"], n_per_class=1, size=20, return_X_y=True)
    assert X.shape == (len(y), 1, 20, 20)


def test_unknown_script_is_named():
    with pytest.raises(ValueError, match=r"must name scripts .*'Greek'.*Got \['Klingon'\]"):
        make_glyphs(scripts=["Klingon"])


def test_drawing_shows_how_far_it_is_if_asked(capsys):
    make_glyphs(scripts="Georgian", n_per_class=2, random_state=0)
    assert capsys.readouterr().err == ""
    make_glyphs(scripts="Georgian", n_per_class=2, random_state=0, verbose=1)
    err = capsys.readouterr().err
    assert "comparing letters:" in err
    assert "drawing: 100%" in err
    assert " 86/86 " in err
