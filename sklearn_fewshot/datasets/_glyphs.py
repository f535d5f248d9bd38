"""Letters of several scripts in twelve typefaces: an Omniglot-like task without a download."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch, check_random_state

from ..utils._blocks import blocks
from ..utils._progress import follow, progress
from ..utils._sklearn import Interval, validate_parameter_constraints
from ..utils._typing import RandomState

REGULAR = ("DejaVuSans", "DejaVuSansMono", "DejaVuSerif")
EM = 512  # pixels; so large that hinting, the fitting to whole pixels, changes nothing
FILL = (0.55, 0.8)  # least and greatest share of the image that a letter's longer side takes
MARGIN = 0.03  # of the image, on each side, which ink keeps free
ALIKE = 0.1  # distance of two images, over the norm of the fuller, below which they count as equal
ALIKE_SIZE = 32  # pixels of the images compared
CANVAS_BYTES = 2**22  # of a canvas of many letters, which are drawn in one call
LETTER_NAME = re.compile(r"(\w+)\b.*\b(?:LETTER|LIGATURE|SYLLABICS|SYMBOL)\b")

DESCR = """\
Letters of several scripts, drawn in the twelve DejaVu typefaces that matplotlib ships (Sans, Sans
Mono and Serif, each regular, bold, slanted, and bold and slanted), under random affine
distortions. Ink is 255 on 0. The target is the letter itself; letters that look alike, of one
script or of several (A in Latin, Greek and Cyrillic), are one class under the first of them in
Unicode's order. Letters with marks (é) are classes, and so are small letters and capitals.

The typefaces are free; their licence comes with matplotlib:
https://dejavu-fonts.github.io/License.html
"""


CONSTRAINTS: dict[str, list[Any]] = {
    "scripts": ["array-like", str, None],
    "n_classes": [Interval(Integral, 1, None, closed="left"), None],
    "n_per_class": [Interval(Integral, 1, None, closed="left")],
    "min_faces": [Interval(Integral, 1, 12, closed="both")],
    "size": [Interval(Integral, 8, None, closed="left")],
    "distortion": [Interval(Real, 0, None, closed="left")],
    "random_state": ["random_state"],
    "return_X_y": ["boolean"],
    "verbose": ["verbose"],
}


def make_glyphs(
    *,
    scripts: str | Sequence[str] | None = None,
    n_classes: int | None = None,
    n_per_class: int = 20,
    min_faces: int = 12,
    size: int = 28,
    distortion: float = 1.0,
    random_state: RandomState = None,
    return_X_y: bool = False,
    verbose: int = 0,
) -> Any:
    """Draw letters of several scripts: about 1,200 classes without a download.

    A task like Omniglot for examples, tests and first trials: many classes, a few images of
    each, typefaces in the role of writers. It needs matplotlib, whose typefaces it draws.

    Parameters
    ----------
    scripts : str, list of str or None, default=None
        Scripts to draw letters of, such as "Greek" or ["Latin", "Georgian"]; None for all that
        have letters in ``min_faces`` typefaces.
    n_classes : int or None, default=None
        Number of letters, drawn at random; None for all.
    n_per_class : int, default=20
        Images of each letter.
    min_faces : int, default=12
        Draw letters that at least this many of the twelve typefaces have. With 12 the scripts are
        Latin, Greek, Cyrillic, Armenian and Georgian; 4 adds Arabic, Canadian (syllabics), Coptic,
        Hebrew, Lao, Lisu and Old (Italic), and many Latin letters; 1 adds Nko, Ogham, Tifinagh.
    size : int, default=28
        Height and width of the images.
    distortion : float, default=1.0
        Strength of the affine distortions. At 1: rotation by up to 12 degrees, shear by up to 0.2,
        height and width each scaled by 0.85 to 1.18, shift by up to 8 % of the image. All grow in
        proportion, but the letter stays inside the image. 0 for none.
    random_state : int, RandomState instance or None, default=None
        Seed of letters, typefaces and distortions.
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` alone.
    verbose : int, default=0
        1 shows progress bars: of the comparison of letters that may look alike, and of the images.

    Returns
    -------
    glyphs : :class:`~sklearn.utils.Bunch`
        With the attributes

        images : uint8 ndarray of shape (n_samples, 1, size, size)
            Images, ink 255 on 0; those of one letter follow each other.
        target : ndarray of str of shape (n_samples,)
            The letter.
        script : ndarray of str of shape (n_samples,)
            Its script; may serve as ``class_groups``.
        face : ndarray of str of shape (n_samples,)
            Typeface, such as "DejaVuSans-Bold"; may serve as ``groups``.
        DESCR : str
            Description.
    (images, target) : tuple of ndarray
        If ``return_X_y``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If a script, or so many letters, cannot be had.

    See Also
    --------
    fetch_omniglot : Handwritten characters of fifty alphabets.

    Notes
    -----
    Each letter takes the typefaces in a random order of its own and starts over when all had their
    turn, so the first ``min_faces`` images of a letter are in different ones.

    The letter is in the middle before distortion, its longer side 55 to 80 % of the image: a
    little smaller for small letters than for capitals, which distinguishes c from C.

    Letters look alike, and only the first of them is drawn, if their images are nearly the same
    in a regular typeface (sans, mono or serif). This is settled among the letters of the chosen
    scripts, so draw both sides of a split by script in one call: Greek alone has an Alpha, which
    together with Latin is an A.

    Examples
    --------
    >>> from sklearn_fewshot.datasets import make_glyphs
    >>> glyphs = make_glyphs(scripts="Georgian", n_per_class=12, random_state=0)
    >>> glyphs.images.shape
    (516, 1, 28, 28)
    >>> len(set(glyphs.target)), len(set(glyphs.face))
    (43, 12)
    """
    validate_parameter_constraints(CONSTRAINTS, locals(), "make_glyphs")
    rng = check_random_state(random_state)
    pen = _Pen()
    letters = _choose_letters(pen, scripts, min_faces)
    letters = letters[_first_of_look_alikes(pen, letters, verbose)]
    if n_classes is not None:
        letters = _draw_letters(letters, n_classes, rng)
    target = np.repeat(letters, n_per_class)
    face = pen.faces[_deal_faces(pen, letters, n_per_class, rng)].ravel()
    maps = _draw_maps(len(target), distortion, rng)
    with progress(len(target), "image", verbose, desc="drawing") as add:
        images = pen.draw(target, face, maps, size, add)[:, None]
    if return_X_y:
        return images, target
    script = np.repeat([_script(letter) for letter in letters], n_per_class)
    return Bunch(images=images, target=target, script=script, face=face, DESCR=DESCR)


def _script(character: str) -> str | None:
    """Return the script of a letter, None if the character is not a letter of a script.

    Unicode names start with the script. Modifiers and marks are left out, and so are forms of
    other letters that Unicode has for compatibility only (Kelvin sign, Arabic final forms).
    """
    name = LETTER_NAME.match(unicodedata.name(character, ""))
    is_letter = unicodedata.category(character) in ("Lu", "Ll", "Lt", "Lo")
    if not name or not is_letter or unicodedata.normalize("NFKC", character) != character:
        return None
    return name[1].capitalize()


def _choose_letters(pen: _Pen, scripts: str | Sequence[str] | None, min_faces: int) -> np.ndarray:
    """Return the letters of the scripts that enough typefaces have, in Unicode's order."""
    characters, n_faces = np.unique(np.concatenate(list(pen.letters.values())), return_counts=True)
    script_of = np.array([_script(character) or "" for character in characters])
    enough = (n_faces >= min_faces) & (script_of != "")
    if scripts is None:
        return characters[enough]
    wanted = np.atleast_1d(np.asarray(scripts, dtype=str))
    missing = wanted[~np.isin(wanted, script_of[enough])]
    if len(wanted) == 0 or len(missing):
        raise ValueError(
            "The 'scripts' parameter of make_glyphs must name scripts that have letters in "
            f"min_faces={min_faces} typefaces: {np.unique(script_of[enough]).tolist()}. "
            f"Got {wanted.tolist()}. A lower min_faces gives more scripts."
        )
    return characters[enough & np.isin(script_of, wanted)]


def _first_of_look_alikes(pen: _Pen, letters: np.ndarray, verbose: int) -> np.ndarray:
    """Mark the letters that look like no letter marked before."""
    is_alike = np.zeros((len(letters), len(letters)), dtype=bool)
    for face in follow(REGULAR, "typeface", verbose, desc="comparing letters"):
        has = np.flatnonzero(np.isin(letters, pen.letters[face]))
        undistorted = np.tile(np.eye(2, 3), (len(has), 1, 1))
        images = pen.draw(letters[has], np.repeat(face, len(has)), undistorted, ALIKE_SIZE)
        is_alike[np.ix_(has, has)] |= _distances(images) < ALIKE
    is_first = np.ones(len(letters), dtype=bool)
    for i, alike in enumerate(is_alike):
        is_first[i + 1 :] &= ~(is_first[i] & alike[i + 1 :])
    return is_first


def _distances(images: np.ndarray) -> np.ndarray:
    """Euclidean distances of images, over the norm of the one with more ink."""
    flat = images.reshape(-1, ALIKE_SIZE**2).astype(np.float32) / 255  # (n_letters, n_pixels)
    ink = (flat**2).sum(axis=1)
    squared = ink[:, None] + ink - 2 * flat @ flat.T  # (n_letters, n_letters)
    return np.sqrt(np.maximum(squared, 0) / np.maximum(ink[:, None], ink))


def _draw_letters(letters: np.ndarray, n: int, rng: np.random.RandomState) -> np.ndarray:
    if n > len(letters):
        raise ValueError(
            f"The 'n_classes' parameter of make_glyphs must be at most the number of letters that "
            f"look different, {len(letters)}. Got {n}. More scripts or a lower min_faces give more."
        )
    return letters[np.sort(rng.choice(len(letters), n, replace=False))]


def _deal_faces(
    pen: _Pen, letters: np.ndarray, n_per_class: int, rng: np.random.RandomState
) -> np.ndarray:
    """Deal each letter's typefaces in random order, again and again: (n_letters, n_per_class)."""
    has = np.stack([np.isin(letters, pen.letters[face]) for face in pen.faces], axis=1)
    order = np.where(has, rng.uniform(size=has.shape), np.inf).argsort(axis=1)
    turns = np.arange(n_per_class) % has.sum(axis=1)[:, None]
    return np.take_along_axis(order, turns, axis=1)


def _draw_maps(n: int, strength: float, rng: np.random.RandomState) -> np.ndarray:
    """Draw affine maps of shape (n, 2, 3) about the middle; the unit of the shift is the image.

    The y axis points upwards.
    """
    angle, shear, wide, high, right, up = strength * rng.uniform(-1, 1, size=(6, n))
    angle, shear = np.deg2rad(12) * angle, 0.2 * shear
    wide, high = 1.18**wide, 1.18**high
    cos, sin = np.cos(angle), np.sin(angle)
    maps = [
        [cos * wide, (cos * shear - sin) * high, 0.08 * right],
        [sin * wide, (sin * shear + cos) * high, 0.08 * up],
    ]
    return np.moveaxis(np.array(maps), -1, 0)


class _Pen:
    """The twelve DejaVu typefaces and matplotlib's antialiased rasteriser.

    Attributes
    ----------
    faces : ndarray of str of shape (12,)
        Typefaces.
    letters : dict of str to ndarray of str
        The characters that each typeface has.
    """

    def __init__(self) -> None:
        self._matplotlib = _import_matplotlib()
        folder = Path(self._matplotlib.get_data_path()) / "fonts" / "ttf"
        paths = sorted(path for path in folder.glob("DejaVu*.ttf") if "Display" not in path.stem)
        self._fonts = {path.stem: self._matplotlib.ft2font.FT2Font(str(path)) for path in paths}
        self._outlines: dict[tuple[str, str], tuple[Any, np.ndarray]] = {}
        self.faces = np.array(list(self._fonts))
        self.letters = {
            face: np.array([chr(code) for code in font.get_charmap()])
            for face, font in self._fonts.items()
        }

    def draw(
        self,
        letters: np.ndarray,
        faces: np.ndarray,
        maps: np.ndarray,
        size: int,
        add: Callable[[int], object] = lambda n_more: None,
    ) -> np.ndarray:
        """Draw n letters: uint8 images of shape (n, size, size)."""
        images = np.empty((len(letters), size, size), dtype=np.uint8)
        for part in blocks(len(letters), size**2, max_bytes=CANVAS_BYTES):
            outlines = map(self._outline, letters[part].tolist(), faces[part].tolist())
            images[part] = self._draw_grid(list(outlines), maps[part], size)
            add(len(images[part]))
        return images

    def _outline(self, letter: str, face: str) -> tuple[Any, np.ndarray]:
        """Return the outline of an undistorted letter, and the points between which its ink is.

        The origin is the middle of the letter, the unit the image.
        """
        if (letter, face) not in self._outlines:
            Path = self._matplotlib.path.Path
            self._fonts[face].set_size(EM, 72)
            self._fonts[face].load_char(ord(letter))
            vertices, codes = self._fonts[face].get_path()
            is_point = codes != Path.CLOSEPOLY  # whose vertex is not on the outline
            low, high = vertices[is_point].min(axis=0), vertices[is_point].max(axis=0)
            longer = (high - low).max()
            vertices = (vertices - (low + high) / 2) * np.clip(longer / EM, *FILL) / longer
            self._outlines[letter, face] = Path(vertices, codes), vertices[is_point]
        return self._outlines[letter, face]

    def _draw_grid(
        self, outlines: list[tuple[Any, np.ndarray]], maps: np.ndarray, size: int
    ) -> np.ndarray:
        """Draw letters into the cells of one canvas and cut it up."""
        n_columns = int(np.ceil(np.sqrt(len(outlines))))
        n_rows = -(-len(outlines) // n_columns)
        agg = self._matplotlib.backends.backend_agg.RendererAgg(n_columns * size, n_rows * size, 72)
        pencil = agg.new_gc()
        pencil.set_linewidth(0)
        pencil.set_snap(False)  # snapping moves straight strokes to whole pixels
        for i, ((outline, points), affine) in enumerate(zip(outlines, maps, strict=True)):
            matrix = np.eye(3)
            matrix[:2] = _place(points, affine)
            matrix[:2, 2] += i % n_columns, n_rows - 1 - i // n_columns
            matrix[:2] *= size
            agg.draw_path(pencil, outline, self._matplotlib.transforms.Affine2D(matrix), (0, 0, 0))
        opacity = np.asarray(agg.buffer_rgba())[..., 3]
        cells = opacity.reshape(n_rows, size, n_columns, size).swapaxes(1, 2)
        return cells.reshape(-1, size, size)[: len(outlines)]


def _place(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Move a map to the middle of the unit square, and shrink or shift it until all points fit."""
    mapped = points @ affine[:, :2].T
    low, high = mapped.min(axis=0), mapped.max(axis=0)
    shrink = min(1.0, (1 - 2 * MARGIN) / (high - low).max())
    room = 0.5 - MARGIN - shrink * (high - low) / 2
    middle = 0.5 + np.clip(affine[:, 2], -room, room)
    return np.column_stack([shrink * affine[:, :2], middle - shrink * (low + high) / 2])


def _import_matplotlib() -> Any:
    try:
        import matplotlib.backends.backend_agg
        import matplotlib.ft2font
        import matplotlib.path
        import matplotlib.transforms
    except ImportError as error:
        raise ImportError(
            "make_glyphs draws the typefaces of matplotlib, which is not installed. Install it, "
            "for example with: pip install 'sklearn-fewshot[plot]'"
        ) from error
    return matplotlib
