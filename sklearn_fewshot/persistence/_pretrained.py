"""Learners that come with the package, already trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ._files import load_model

MODELS = Path(__file__).parent / "models"


def load_pretrained(name: str) -> Any:
    """Load a learner that comes with the package, to adapt to new classes at once.

    Parameters
    ----------
    name : {"glyphs"}
        "glyphs": a :class:`ProtoNetClassifier` of images of 28 x 28, fitted to the 1,147 Latin,
        Greek, Cyrillic and Armenian letters of :func:`~sklearn_fewshot.datasets.make_glyphs`, of
        which 229 were held out to choose the epoch and to calibrate; it has seen no Georgian one.
        For first trials and for demonstrations, on print and drawings of any script: white (255)
        on black.

    Returns
    -------
    learner : fitted estimator

    Raises
    ------
    ValueError
        If there is no such learner.

    See Also
    --------
    load_model : Loads files of your own.

    Notes
    -----
    ``python -m benchmarks.pretrained`` trains it and measures how well it reads other scripts; the
    page "Pretrained letters" of the documentation has the table.

    Examples
    --------
    >>> from sklearn_fewshot import load_pretrained
    >>> from sklearn_fewshot.datasets import make_glyphs
    >>> X, y = make_glyphs(scripts="Georgian", n_classes=5, random_state=0, return_X_y=True)
    >>> classifier = load_pretrained("glyphs").adapt(X[::20], y[::20])  # the first of each letter
    >>> classifier.predict(X[[1, 21, 41]]) == y[[1, 21, 41]]
    array([ True,  True,  True])
    """
    names = sorted(path.stem for path in MODELS.glob("*.skops"))
    if name not in names:
        raise ValueError(
            f"The 'name' parameter of load_pretrained must be one of {names}. Got {name!r}. "
            "load_model loads files of your own."
        )
    return load_model(MODELS / f"{name}.skops")
