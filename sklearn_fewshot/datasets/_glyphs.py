"""Letters of several scripts in twelve typefaces: an Omniglot-like task without a download."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

CANVAS = 64  # pixels of a rendered letter's square
INK = 48  # pixels of its longer side: three quarters of the square
SAME = 0.985  # letters whose regular renderings correlate more look alike
SUPERSAMPLING = 2  # points per pixel and axis of the final picture

DESCR = """\
Letters of the Latin, Greek, Cyrillic, Armenian and Georgian scripts, rendered in the twelve
DejaVu typefaces that matplotlib ships (sans, sans mono and serif, each regular, bold, slanted and
both), under random affine distortions. Letters that look alike once they fill the picture, of one
script or several, are one class under the first letter's name. Ink is 255 on 0.
"""


@validate_params(
    {
        "scripts": ["array-like", None],
        "n_per_class": [Interval(Integral, 1, None, closed="left")],
        "size": [Interval(Integral, 8, None, closed="left")],
        "distortion": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def make_glyphs(
    *,
    scripts: Any = None,
    n_per_class: int = 20,
    size: int = 28,
    distortion: float = 1.0,
    random_state: Any = None,
    return_X_y: bool = False,
) -> Any:
    """Make pictures of letters: about a thousand classes, without a download.

    Parameters
    ----------
    scripts : list of str or None, default=None
        Of "Latin", "Greek", "Cyrillic", "Armenian", "Georgian"; None for all.
    n_per_class : int, default=20
        Pictures of each letter. The first twelve are in different typefaces.
    size : int, default=28
        Height and width of the pictures.
    distortion : float, default=1.0
        Strength of the distortions; at 1, rotations up to 12 degrees, shear up to 0.2, scale 0.8
        to 1.15, shifts up to 7 % of the size. 0 for none.
    random_state : int, RandomState instance or None, default=None
        Seed of typefaces and distortions.
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` alone.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        images : uint8 ndarray of shape (n_samples, 1, size, size)
            Pictures.
        target : ndarray of str of shape (n_samples,)
            The letter.
        script : ndarray of str of shape (n_samples,)
            Its script, for ``class_groups``, or to hold out whole scripts.
        face : ndarray of str of shape (n_samples,)
            Typeface, for ``groups``.
        DESCR : str
            Description.
    (images, target) : tuple of ndarray
        If ``return_X_y``.

    Raises
    ------
    ImportError
        If matplotlib, which has the typefaces, is not installed.
    ValueError
        If a script is not among those there are.

    See Also
    --------
    fetch_omniglot : Handwritten characters of fifty alphabets.

    Examples
    --------
    >>> from sklearn_fewshot.datasets import make_glyphs
    >>> glyphs = make_glyphs(scripts=["Georgian"], n_per_class=12, random_state=0)
    >>> glyphs.images.shape[1:]
    (1, 28, 28)
    >>> len(set(glyphs.face))
    12
    """
    rng = check_random_state(random_state)
    letters, faces, pictures = _alphabet()
    script_of = np.array([_script(letter) for letter in letters])
    chosen = np.flatnonzero(_chosen(script_of, scripts))
    code = np.repeat(chosen, n_per_class)
    face = _draw_faces(len(chosen), n_per_class, len(faces), rng)
    maps = _draw_maps(len(code), distortion, rng)
    images = _warp(pictures, code, face, maps, size)
    target = letters[code]
    if return_X_y:
        return images, target
    return Bunch(
        images=images, target=target, script=script_of[code], face=faces[face], DESCR=DESCR
    )


def _chosen(script_of: np.ndarray, scripts: Any) -> np.ndarray:
    available = np.unique(script_of)
    wanted = available if scripts is None else np.asarray(scripts)
    unknown = wanted[~np.isin(wanted, available)]
    if len(unknown):
        raise ValueError(
            f"The 'scripts' parameter of make_glyphs must name scripts of {available.tolist()}. "
            f"Got {unknown.tolist()}."
        )
    return np.isin(script_of, wanted)


def _script(letter: str) -> str:
    return unicodedata.name(letter).split()[0].capitalize()


@lru_cache(maxsize=1)
def _alphabet() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Render every letter that all faces have, look-alikes once.

    Returns
    -------
    letters : ndarray of str of shape (n_letters,)
        Classes.
    faces : ndarray of str of shape (12,)
        Typefaces.
    pictures : uint8 ndarray of shape (n_letters, 12, CANVAS, CANVAS)
        Undistorted letters.
    """
    fonts = _fonts()
    codepoints = sorted(set.intersection(*(set(font.get_charmap()) for font in fonts.values())))
    letters = np.array([chr(c) for c in codepoints if _is_letter(chr(c))])
    faces = np.array(sorted(fonts))
    regular = np.stack([_render(fonts["DejaVuSans"], letter) for letter in letters])
    kept = _first_of_look_alikes(regular)
    pictures = np.stack(
        [[_render(fonts[face], letter) for face in faces] for letter in letters[kept]]
    )
    return letters[kept], faces, pictures


def _fonts() -> dict[str, Any]:
    """Open the twelve DejaVu faces."""
    try:
        import matplotlib
        from matplotlib.ft2font import FT2Font
    except ImportError as error:
        raise ImportError(
            "make_glyphs needs the typefaces of matplotlib, which is not installed. Install it, "
            "for example as the extra sklearn-fewshot[plot]."
        ) from error
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    paths = [path for path in folder.glob("DejaVu*.ttf") if "Display" not in path.name]
    return {path.stem: FT2Font(str(path)) for path in sorted(paths)}


def _is_letter(character: str) -> bool:
    if unicodedata.category(character) not in ("Lu", "Ll", "Lo"):
        return False
    return _script(character) in ("Latin", "Greek", "Cyrillic", "Armenian", "Georgian")


def _render(font: Any, letter: str) -> np.ndarray:
    """Draw a letter in the middle of the canvas, its longer side ``INK`` pixels."""
    rough = _bitmap(font, letter, 48.0)
    glyph = _bitmap(font, letter, 48.0 * INK / max(rough.shape))[:CANVAS, :CANVAS]
    canvas = np.zeros((CANVAS, CANVAS), dtype=np.uint8)
    top, left = (CANVAS - glyph.shape[0]) // 2, (CANVAS - glyph.shape[1]) // 2
    canvas[top : top + glyph.shape[0], left : left + glyph.shape[1]] = glyph
    return canvas


def _bitmap(font: Any, letter: str, points: float) -> np.ndarray:
    font.set_size(points, 72)
    font.set_text(letter)
    font.draw_glyphs_to_bitmap(antialiased=True)
    bitmap = np.array(font.get_image())
    rows, columns = np.flatnonzero(bitmap.any(axis=1)), np.flatnonzero(bitmap.any(axis=0))
    return bitmap[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _first_of_look_alikes(pictures: np.ndarray) -> np.ndarray:
    """Return the letters that look like none before them."""
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    alike = np.tril(flat @ flat.T > SAME, k=-1)
    return np.flatnonzero(~alike.any(axis=1))


def _draw_faces(
    n_classes: int, n_per_class: int, n_faces: int, rng: np.random.RandomState
) -> np.ndarray:
    """Deal the faces to each class in a random order, again and again."""
    n_rounds = -(-n_per_class // n_faces)
    keys = rng.uniform(size=(n_classes, n_rounds, n_faces))
    return keys.argsort(axis=2).reshape(n_classes, -1)[:, :n_per_class].reshape(-1)


def _draw_maps(n: int, strength: float, rng: np.random.RandomState) -> np.ndarray:
    """Draw affine maps from picture to letter, of shape (n, 2, 3), both in units of the size."""
    angle, shear, log_scale, down, right = strength * rng.uniform(-1, 1, size=(5, n))
    angle, shear = np.deg2rad(12) * angle, 0.2 * shear
    scale = np.exp(0.18 * log_scale - 0.04 * strength)
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    linear = np.array([[cos, -sin + shear * cos], [sin, cos + shear * sin]])  # (2, 2, n)
    shift = 0.07 * np.array([down, right])[:, None]  # (2, 1, n)
    return np.moveaxis(np.concatenate([linear, shift], axis=1), -1, 0)


def _warp(
    pictures: np.ndarray, code: np.ndarray, face: np.ndarray, maps: np.ndarray, size: int
) -> np.ndarray:
    """Sample every distorted letter on a finer grid and average to pixels."""
    fine = size * SUPERSAMPLING
    centre = (np.arange(fine) + 0.5) / fine - 0.5
    grid = np.stack([*np.meshgrid(centre, centre, indexing="ij"), np.ones((fine, fine))])
    places = np.einsum("nij,jab->niab", maps.astype(np.float32), grid.astype(np.float32))
    places = (places + 0.5) * CANVAS - 0.5
    images = np.empty((len(code), 1, size, size), dtype=np.uint8)
    for i, place in enumerate(places):
        sampled = map_coordinates(pictures[code[i], face[i]].astype(np.float32), place, order=1)
        pooled = sampled.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING).mean(axis=(1, 3))
        images[i, 0] = np.rint(pooled)
    return images
