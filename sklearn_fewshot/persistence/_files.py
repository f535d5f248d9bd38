"""Trained estimators as files without code: ``save_model`` and ``load_model``."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Collection
from io import BytesIO
from typing import Any, BinaryIO

from sklearn.utils.validation import check_is_fitted

from ._archive import SCHEMA, ModelFormatError, read_schema, replacing, write_archive
from ._schema import Renumbering, check_schema, names_in
from ._values import (
    check_can_be_saved,
    check_indices,
    check_predicts,
    check_sizes,
    give_owners,
    without_owners,
)


def save_model(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Save a fitted estimator to a file that holds no code.

    What a pickle does, without its risk: reading such a file executes nothing. The file is one of
    :mod:`skops.io` with a checksum.

    Parameters
    ----------
    estimator : fitted estimator
        A learner, a :class:`FewShotClassifier`, or a :class:`~sklearn.pipeline.Pipeline` or
        :class:`FewShotPipeline` of these and transformers: those of scikit-learn, and your own.
    path : str or path-like
        The file; it gets exactly this name. An existing one is replaced only when the new one is
        complete: an interrupted save leaves it unchanged.

    Raises
    ------
    TypeError
        If a parameter or attribute cannot be stored, such as an instance of
        :class:`torch.nn.Module`, a random generator or a lambda. The error names it.
    ValueError
        If it is too large, or has sizes that :func:`load_model` would reject.
    NotFittedError
        If the estimator is not fitted.
    OSError
        If the file cannot be written.

    See Also
    --------
    load_model : Reads the file.

    Notes
    -----
    Stored are parameters, fitted attributes and weights, but not ``net_``, the net that trained.
    Classes and functions, such as a ``backbone`` or ``metric`` of your own, are stored by their
    importable names. What was written is loaded once before it takes the place of ``path``.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn_fewshot import FewShotClassifier, load_model, save_model
    >>> classifier = FewShotClassifier().fit([[0.0, 0.0], [4.0, 4.0]], ["near", "far"])
    >>> path = os.path.join(tempfile.mkdtemp(), "classifier.skops")
    >>> save_model(classifier, path)
    >>> load_model(path).predict([[1.0, 0.0]])
    array(['near'], dtype='<U4')
    """
    check_is_fitted(estimator)
    check_can_be_saved(estimator)
    members = _members(estimator)
    with replacing(path) as file:
        write_archive(file, members)
        del members
        try:
            _load(file, trusted=None)
        except ModelFormatError as error:
            raise ValueError(f"The estimator cannot be saved: {error}.") from error
        except (AttributeError, ImportError, TypeError, ValueError) as error:
            raise TypeError(
                "The estimator cannot be saved, since what was written cannot be loaded: "
                f"{error}. Classes and functions must be found by their names: define them in a "
                "module."
            ) from error


def load_model(path: str | os.PathLike[str], *, trusted: Collection[str] = ()) -> Any:
    """Load what :func:`save_model` has saved.

    Nothing in the file is executed, and sizes are checked before anything is allocated.

    Parameters
    ----------
    path : str or path-like
        The file.
    trusted : collection of str, default=()
        Names of classes and functions, such as "package.module.Name", that may be imported and
        called. Only files with estimators, backbones, metrics or the like of your own need any;
        the error that comes without them says which.

    Returns
    -------
    estimator : estimator
        It predicts as the one that was saved, on the device that its ``device`` parameter and the
        machine offer, and can be adapted and fitted further.

    Raises
    ------
    ModelFormatError
        If the file is no model file, was damaged, is of a newer format, holds what does not go
        together, or refers to types that are not trusted.
    OSError
        If there is no such file, or it cannot be opened.

    See Also
    --------
    save_model : Writes the file.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn_fewshot import FewShotClassifier, load_model, save_model
    >>> classifier = FewShotClassifier().fit([[0.0, 0.0], [4.0, 4.0]], ["near", "far"])
    >>> path = os.path.join(tempfile.mkdtemp(), "classifier.skops")
    >>> save_model(classifier, path)
    >>> load_model(path).partial_fit([[9.0, 0.0]], ["right"]).predict([[8.0, 1.0]])
    array(['right'], dtype='<U5')
    """
    trusted = _checked_trust(trusted)
    with open(path, "rb") as file:
        try:
            estimator = _load(file, trusted)
            check_is_fitted(estimator)
            check_predicts(estimator)
            return estimator
        except ModelFormatError as error:
            raise ModelFormatError(f"{os.fspath(path)} cannot be loaded: {error}.") from error
        except MemoryError:
            raise
        except Exception as error:  # whatever skops, numpy, torch or zipfile make of foreign bytes
            raise ModelFormatError(
                f"{os.fspath(path)} cannot be loaded: it is damaged, or something else than "
                f"save_model has written it ({type(error).__name__}: {error})."
            ) from error


def _checked_trust(trusted: Any) -> frozenset[str]:
    names = [] if isinstance(trusted, str | bool) else list(trusted)
    if isinstance(trusted, str | bool) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            "The 'trusted' parameter of load_model must be a collection of names, such as "
            f"['package.module.Name']. Got {trusted!r}."
        )
    return frozenset(names)


def _members(estimator: Any) -> dict[str, bytes]:
    """Return the members of a model file: the schema, and the arrays that it refers to."""
    import skops.io  # not above: it imports all of scikit-learn, which takes a second

    try:
        with without_owners(estimator):
            content = skops.io.dumps(estimator)
    except (TypeError, RecursionError, AttributeError) as error:
        raise TypeError(
            f"save_model cannot store a part of this {type(estimator).__name__}: {error}"
        ) from error
    renumbering = Renumbering()
    with zipfile.ZipFile(BytesIO(content)) as archive:
        schema = renumbering.apply(json.loads(archive.read(SCHEMA)))
        text = json.dumps(schema, separators=(",", ":")).encode("ascii")
        parts = {name: archive.read(original) for original, name in renumbering.files.items()}
    return {SCHEMA: text, **parts}


def _load(file: BinaryIO, trusted: Collection[str] | None) -> Any:
    """Check a file and build its estimator; with ``trusted=None`` all its types are trusted."""
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    schema = read_schema(file)
    if trusted is None:
        trusted = names_in(schema) | set(skops.io.get_untrusted_types(file=file))
    names, untrusted = check_schema(schema, trusted)
    del schema
    try:
        if untrusted:
            raise UntrustedTypesFoundException(untrusted)
        estimator = skops.io.load(file, trusted=names)
    except UntrustedTypesFoundException as error:
        untrusted |= set(skops.io.get_untrusted_types(file=file)).difference(names)
        raise ModelFormatError(
            "it refers to types that are not trusted: loading would import and call them. If you "
            f"know where the file comes from, pass trusted={sorted(untrusted)}"
        ) from error
    check_sizes(estimator, file.seek(0, os.SEEK_END))
    check_indices(estimator)
    give_owners(estimator)
    return estimator
