"""A transformer from pictures of any kind and size to one array."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from ..utils._images import (
    MODES,
    bring_to_size,
    channels_first,
    check_paths,
    checked_size,
    is_picture,
    name_of,
    picture_from_array,
    read_image,
)
from ..utils._progress import follow
from ..utils._sklearn import Interval, StrOptions
from ..utils._typing import ArrayLike
from ._samples import as_column

OWNER = "PictureReader"
N_CHANNELS = {"RGB": 3, "L": 1}


class PictureReader(TransformerMixin, BaseEstimator):
    """Read pictures, whatever they come as, and bring them to one size.

    The first step of a pipeline on photos: files go into ``fit``, ``adapt`` and ``predict``, and
    the learner behind gets one array. Pictures are paths, contents of files as bytes (an upload),
    pictures of Pillow, what columns of Hugging Face's data sets hold, and 8-bit arrays of any size.
    They are turned upright if the camera noted how (EXIF), and transparency is dropped.

    Parameters
    ----------
    size : int or (height, width), default=64
        Size to bring pictures to: each is cropped to that shape around its middle, then resized, so
        that nothing is stretched. An int is the side of a square.
    mode : {"RGB", "L"}, default="RGB"
        Colour or grey.
    verbose : int, default=0
        1 shows a progress bar.

    See Also
    --------
    FrozenEncoder : Embeds pictures with a pretrained network, a batch at a time.
    sklearn_fewshot.datasets.load_image_folder : Reads pictures with their labels, once.

    Notes
    -----
    ``fit`` learns nothing. The array of all pictures is held in memory: 12 kB for a picture of
    64 x 64 in colour. ``Pipeline(memory=...)`` reads each set of pictures once.

    Examples
    --------
    >>> from PIL import Image
    >>> from sklearn_fewshot import PictureReader
    >>> photos = [Image.new("RGB", (40, 30), "red"), Image.new("L", (100, 200))]
    >>> PictureReader(size=16).fit_transform(photos).shape
    (2, 3, 16, 16)

    Behind it, a learner trains on files and adapts to files:

    >>> from sklearn_fewshot import ProtoNetClassifier, make_fewshot_pipeline
    >>> pipe = make_fewshot_pipeline(PictureReader(64), ProtoNetClassifier())
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "size": [Interval(Integral, 1, None, closed="left"), tuple, list],
        "mode": [StrOptions(set(MODES))],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        size: int | tuple[int, int] = 64,
        *,
        mode: Literal["RGB", "L"] = "RGB",
        verbose: int = 0,
    ) -> None:
        self.size = size
        self.mode = mode
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Check parameters, and that X holds pictures.

        Parameters
        ----------
        X : sequence of n_samples pictures
            Pictures.
        y : None
            Not used.

        Returns
        -------
        self : PictureReader

        Raises
        ------
        ValueError
            If X is one picture, or holds something else.
        FileNotFoundError
            If paths lead nowhere.
        """
        self._validate_params()
        checked_size(self.size, OWNER)
        _check_pictures(X)
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Read pictures.

        Parameters
        ----------
        X : sequence of n_samples pictures
            Pictures.

        Returns
        -------
        images : uint8 ndarray of shape (n_samples, n_channels, height, width)
            3 channels, or 1 with ``mode="L"``.

        Raises
        ------
        ValueError
            If X is one picture, or one of them cannot be read or is no picture.
        FileNotFoundError
            If paths lead nowhere.
        ImportError
            If Pillow is not installed.
        """
        self._validate_params()
        shape = checked_size(self.size, OWNER)
        assert shape is not None
        pictures = _check_pictures(X)
        images = np.empty((len(pictures), N_CHANNELS[self.mode], *shape), dtype=np.uint8)
        numbers = follow(range(len(pictures)), "picture", self.verbose, desc="reading")
        for row in numbers:
            picture = pictures[row]
            name = name_of(picture, row)
            if isinstance(picture, np.ndarray):
                picture = picture_from_array(picture, name, OWNER)
            image = read_image(picture, self.mode, OWNER, name=name)
            images[row] = channels_first(bring_to_size(image, shape))
        return images

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: there is nothing to learn."""
        return True

    def __sklearn_tags__(self) -> Any:
        """Transformer of anything but tables, which learns nothing."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        tags.requires_fit = False
        tags.no_validation = True
        return tags


def _check_pictures(X: Any) -> Sequence[Any]:
    """Return X as a sequence of pictures, or raise."""
    if is_picture(X):
        raise ValueError(f"X of {OWNER} must be a list of pictures. Got one: pass it as [picture].")
    stacked = getattr(X, "ndim", 1) >= 3
    column = list(np.asarray(X)) if stacked else as_column(X)
    if column is None or not len(column):
        got = f"an array of shape {np.shape(X)}" if column is None else "none"
        raise ValueError(
            f"X of {OWNER} must be a list, an array or a column of pictures: paths, contents of "
            f"files, pictures of Pillow, or arrays. Got {got}."
        )
    if isinstance(column, (list, tuple)):  # entries of others would be decoded by looking at them
        _check_entries(column)
    return column


def _check_entries(pictures: Sequence[Any]) -> None:
    """Raise unless all are pictures, and paths lead to files."""
    for row, picture in enumerate(pictures):
        if not is_picture(picture) and not isinstance(picture, np.ndarray):
            raise ValueError(
                f"X of {OWNER} must hold pictures: paths, contents of files, pictures of Pillow, "
                f"or arrays. Got {type(picture).__name__} {picture!r:.60} in row {row}."
            )
    check_paths(pictures, OWNER)
