"""Pretrained networks as transformers: arrays, pictures and texts in, vectors out."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import validate_data
from torch import Tensor, nn

from ..nn import chunk_sizes, chunks, evaluation_view
from ..nn._stored import StoredModule
from ..utils._fresh import unfitted_copy
from ..utils._images import MODES, checked_size, is_picture
from ..utils._progress import progress
from ..utils._sklearn import Interval, StrOptions, _wrap_data_with_container
from ..utils._typing import ArrayLike
from ..utils._validation import check_layout, warn_of_layout
from ._named_encoder import Pretrained, load_by_name, mode_for
from ._network_call import device_for, filled_up, name_of_network, on_device, rows_of, scale_of
from ._samples import (
    AUTO,
    OWNER,
    TEXT,
    as_pictures,
    as_texts,
    describe,
    name_of_sample,
    read_sample,
    some_of,
)

SHARED = ("module", "preprocess")  # parameters that clones share
CHANNELS_FIRST = "set preprocess=np.asarray: what it returns is passed on as it is"
RETURN_ONE = (
    "Wrap it in a torch.nn.Module whose forward returns one of them, such as "
    "`self.body(x).pooler_output`, or in a function if it takes arrays."
)


class FrozenEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Embed samples with a pretrained network, which is never trained or changed.

    The first step of a pipeline on photos or texts: behind it, learners work on vectors. Samples
    are rows of an array or of a :class:`numpy.memmap`, pictures, or texts. Pictures are paths,
    contents of files as bytes (an upload), pictures of Pillow, and what columns of Hugging Face's
    data sets hold, decoded or not. In any case one batch at a time is in memory. With
    ``Pipeline(memory=...)`` each picture is embedded once, however often the steps behind are
    fitted.

    Parameters
    ----------
    module : torch.nn.Module, callable, str or None, default=None
        The network, or its name, as in "timm:resnet18": see Notes. A module is called with a
        float32 tensor of shape (n_samples, ...), in evaluation mode and without gradients; another
        callable with a float32 array, and returns one; either with a list of str if samples are
        texts. What it returns is flattened to a vector for each sample. None flattens the samples.
    preprocess : callable or None, default=None
        Called with one sample at a time: a :class:`PIL.Image.Image` if X holds pictures, as
        torchvision's transforms expect, else the row of X or the text as it is. Returns a picture,
        an array or a tensor, of one shape for all samples, or a text. It must not be random. None
        passes samples on as they are; to a network with a name, as it was trained.
    batch_size : int, default=64
        Samples that are read and embedded at once.
    device : str or torch.device, default="auto"
        Where a module computes; "auto" takes cuda if there is one, else the cpu. A module that is
        elsewhere is copied there for the call.
    mode : {"auto", "RGB", "L", "text"}, default="auto"
        How pictures are read: colour or grey. They are turned upright if the camera noted how;
        transparency is dropped. With "text", X holds texts: strings are not paths. "auto" is
        "text" for names of sentence encoders, else "RGB".
    size : int, (height, width) or None, default=None
        Size to bring pictures to before ``preprocess``: cropped around the middle, then resized, as
        in :func:`~sklearn_fewshot.datasets.load_image_folder`. None leaves them unchanged. Arrays
        are never resized.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    n_features_in_ : int
        Features (channels for series and images), if X was an array.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Column names, if X had any.
    input_shape_ : tuple of int
        Shape of one sample as the network takes it, behind ``preprocess``.
    input_scale_ : float
        Factor applied to samples: 1/255 for 8-bit pictures.
    embedding_dim_ : int
        Length of an embedding.

    See Also
    --------
    ProtoNetClassifier : Its ``freeze_backbone=True`` does the same within one estimator.
    sklearn_fewshot.datasets.load_image_folder : Pictures as an array.

    Notes
    -----
    8-bit pictures (files, and uint8 arrays of shape (n_samples, channels, height, width)) reach the
    network as numbers in [0, 1], everything else as it is, as float32. This goes for what
    ``preprocess`` returns too.

    Networks with a name are loaded when ``fit`` or ``transform`` first needs them, by one of three
    libraries, each an extra of the same name (``pip install "sklearn-fewshot[timm]"``):

    - ``"timm:resnet18"``, or a folder, ``"timm:local-dir:models/resnet18"``: pictures;
    - ``"sentence-transformers:all-MiniLM-L6-v2"``, or a folder: texts;
    - ``"open_clip:ViT-B-32/laion2b_s34b_b79k"`` (network and weights, which may be a file), or a
      folder, ``"open_clip:local-dir:models/clip"``: pictures, and with ``mode="text"`` texts, as
      vectors of unit length that can be compared.

    Weights are downloaded once, into the cache of the library. The last networks remain loaded, and
    all encoders of one name share one. Pickles and files hold the name only.

    ``fit`` learns nothing: it tries the network on the first sample, so that mistakes show before
    hours of work, and notes the shapes, which later calls are compared with. ``transform`` works
    without it, with the output of :meth:`set_output` too.

    The module is never changed, not even its training mode: threads may share an encoder, and train
    the module meanwhile. One that is in training mode, as torch builds them, is called through a
    copy in evaluation mode that shares its weights.

    A clone, as of a cross-validation, shares the network with the original. Pickles hold its
    weights as numpy arrays and load on the CPU; two pickles of one network are equal, which
    ``Pipeline(memory=...)`` needs to find it again. The cache knows functions (``module``,
    ``preprocess``) by their names, not by what they do, and files by their paths: clear it after
    changing one of them in place. Lambdas have no names; they cannot be cached.

    Batches are filled up to a few fixed sizes, as learners do it: an embedding does not depend on
    its neighbours.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> from sklearn_fewshot import FrozenEncoder
    >>> pretrained = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1))
    >>> pictures = np.zeros((5, 3, 32, 32), dtype=np.uint8)
    >>> FrozenEncoder(pretrained).fit_transform(pictures).shape
    (5, 8)

    Behind it stands any estimator; a learner adapts to new classes there:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> pipe = make_pipeline(FrozenEncoder(pretrained), ProtoNetClassifier(), memory="cache")
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "module": [callable, str, None],
        "preprocess": [callable, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "mode": [StrOptions({AUTO, *MODES, TEXT})],
        "size": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        module: nn.Module | Callable[[np.ndarray], Any] | str | None = None,
        preprocess: Callable[[Any], Any] | None = None,
        *,
        batch_size: int = 64,
        device: str | torch.device = "auto",
        mode: Literal["auto", "RGB", "L", "text"] = "auto",
        size: int | tuple[int, int] | None = None,
        verbose: int = 0,
    ) -> None:
        self.module = module
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.device = device
        self.mode = mode
        self.size = size
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> FrozenEncoder:
        """Check the samples and try the network on the first.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), or sequence of n_samples pictures or texts
            Samples.
        y : None
            Not used.

        Returns
        -------
        self : FrozenEncoder
            If ``fit`` raises, it is what it was before.

        Raises
        ------
        ValueError
            If the samples are malformed or the network cannot take them.
        TypeError
            If the network returns something else than a tensor or an array.
        ImportError, OSError
            If a network with a name needs a library that is not installed, or cannot be loaded.
        """
        self._validate_params()
        fresh = unfitted_copy(self)
        samples = fresh._check_samples(X, reset=True)
        names, batch = next(fresh._batches(some_of(samples, 0, 1)))
        fresh.input_shape_ = batch.shape[1:]
        fresh.input_scale_ = scale_of(batch)
        fresh._exceeds_one = batch.ndim == 4 and bool(batch.max() > 1)
        with fresh._encoding() as encode:
            fresh.embedding_dim_ = fresh._embed(encode, batch, names).shape[1]
        self.__dict__ = fresh.__dict__
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Embed samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), or sequence of n_samples pictures or texts
            Samples.

        Returns
        -------
        embedding : float32 ndarray of shape (n_samples, embedding_dim)

        Raises
        ------
        FileNotFoundError
            If a path leads nowhere.
        ValueError
            If a picture cannot be read, samples differ in size among themselves or from those of
            ``fit``, or an embedding is not finite.
        TypeError
            If the network returns something else than a tensor or an array.
        ImportError, OSError
            If a network with a name needs a library that is not installed, or cannot be loaded.
        """
        self._validate_params()
        samples = self._check_samples(X, reset=False)
        embedding, n_done = np.empty((0, 0), dtype=np.float32), 0
        with self._encoding() as encode, progress(len(samples), "sample", self.verbose) as add:
            for names, batch in self._batches(samples):
                rows = self._embed(encode, batch, names)
                if not n_done:  # the width is known only now
                    embedding = np.empty((len(samples), rows.shape[1]), dtype=np.float32)
                embedding[n_done : n_done + len(rows)] = rows
                n_done += len(rows)
                add(len(rows))
        named = self
        if not hasattr(self, "embedding_dim_"):
            named = unfitted_copy(self)
            named.embedding_dim_ = embedding.shape[1]
        return _wrap_data_with_container("transform", embedding, X, named)

    # ------------------------------------------------------------------ samples

    def _check_samples(self, X: Any, *, reset: bool) -> np.ndarray | Sequence[Any]:
        """Return an array of numbers, memory maps as they are, or pictures or texts."""
        if is_picture(X):
            got = f"path {os.fspath(X)!r}" if isinstance(X, (str, os.PathLike)) else "picture"
            raise ValueError(
                f"X of {OWNER} must be an array, or a list of pictures or texts. Got a single "
                f"{got}. Put it into a list, or see datasets.load_image_folder for a folder."
            )
        if self._mode == TEXT:
            return as_texts(X)
        pictures = as_pictures(X)
        if pictures is not None:
            return pictures
        X = validate_data(self, X, reset=reset, dtype="numeric", allow_nd=True)
        if X.dtype.kind not in "biuf":
            raise ValueError(
                f"X of {OWNER} must hold numbers or pictures. Got an array of dtype {X.dtype}. "
                "Convert it first, for example with X.astype(float)."
            )
        is_first = reset or not hasattr(self, "input_shape_")
        is_raw = self.preprocess is None and isinstance(self.module, nn.Module)
        if is_first and is_raw and X.ndim == 4:
            check_layout(X, remedy=CHANNELS_FIRST)
            warn_of_layout(X, CHANNELS_FIRST)
        return X

    def _batches(
        self, samples: np.ndarray | Sequence[Any]
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """Read samples in batches, with their names, in the dtype they come in."""
        shape, owner = getattr(self, "input_shape_", None), "fit"
        preprocess, mode = self._preprocess(), self._mode
        size = checked_size(self.size, OWNER)
        read = partial(read_sample, mode=mode, size=size, preprocess=preprocess)
        for start in range(0, len(samples), self.batch_size):
            rows = some_of(samples, start, start + self.batch_size)
            names = [name_of_sample(row, start + k, mode) for k, row in enumerate(rows)]
            is_batch = preprocess is None and isinstance(rows, np.ndarray)
            arrays = rows if is_batch else list(map(read, rows, names))
            for name, array in zip(names, arrays, strict=True):
                if shape is None:
                    shape, owner = array.shape, name
                if array.shape != shape:
                    self._refuse_shape(name, array.shape, owner, shape)
            yield names, np.asarray(arrays) if is_batch else np.stack(arrays)

    def _preprocess(self) -> Callable[[Any], Any] | None:
        """Return what prepares one sample: the parameter, or what belongs to a name."""
        preprocess = self.preprocess
        if preprocess is None and isinstance(self.module, str):
            return self._named(self.module).preprocess
        return evaluation_view(preprocess) if isinstance(preprocess, nn.Module) else preprocess

    def _refuse_shape(
        self, name: str, shape: tuple[int, ...], owner: str, expected: tuple[int, ...]
    ) -> None:
        remedy = "Pass size=, to which pictures are cropped and resized, or resize samples in "
        remedy += "preprocess."
        if owner == "fit":
            raise ValueError(
                f"{OWNER} was fitted on samples of shape {expected}, but {name} has shape {shape}. "
                f"{remedy}"
            )
        raise ValueError(
            f"Samples of {OWNER} must have one shape: {owner} has {expected}, {name} has {shape}. "
            f"{remedy}"
        )

    # ------------------------------------------------------------------ the network

    @property
    def _mode(self) -> str:
        """How samples are read."""
        return mode_for(self.module, self.mode)

    def _named(self, name: str) -> Pretrained:
        """Return the network of a name, loaded once for all encoders."""
        return load_by_name(name, self._mode, self.device)

    @contextmanager
    def _encoding(self) -> Iterator[Callable[[Any], Any]]:
        """Yield the network as a function of float32 tensors or lists of texts."""
        module = self.module
        if isinstance(module, str):
            module = self._named(module).module
        if module is None:
            yield lambda rows: rows
        elif not isinstance(module, nn.Module):
            function = module
            yield lambda rows: function(
                rows.contiguous().numpy() if isinstance(rows, Tensor) else rows
            )
        else:
            device = device_for(module, self.device)
            module = on_device(evaluation_view(module), device)
            with torch.no_grad():
                yield lambda rows: module(rows.to(device) if isinstance(rows, Tensor) else rows)

    def _embed(
        self, encode: Callable[[Any], Any], batch: np.ndarray, names: list[str]
    ) -> np.ndarray:
        """Embed one batch: float32 of shape (n_samples, embedding_dim)."""
        scale = scale_of(batch)
        if scale == 1.0 and getattr(self, "input_scale_", 1.0) != 1.0 and batch.max() > 1:
            raise ValueError(
                f"{OWNER} was fitted on 8-bit pictures, which reach the network as numbers in "
                f"[0, 1], but {names[0]} or one that follows has dtype {batch.dtype} and values "
                "above 1. Pass X.astype(np.uint8), or X / 255."
            )
        was_scaled = getattr(self, "input_scale_", scale) != 1.0  # without fit nothing was
        if scale != 1.0 and not was_scaled and self._exceeds_one:
            raise ValueError(
                f"{OWNER} was fitted on pictures of another dtype, which reach the network as they "
                f"are, but {names[0]} or one that follows has 8 bits, which would be divided by "
                "255. Pass X.astype(np.float32)."
            )
        rows, parts = rows_of(batch), []
        for start, stop, size in chunks(len(rows), chunk_sizes(rows.ndim, self.batch_size)):
            full = filled_up(rows[start:stop], size, scale)
            parts.append(self._as_rows(self._called(encode, full), size)[: stop - start])
        embedding = np.concatenate(parts)
        self._check_embedding(embedding, names)
        return embedding

    def _called(self, encode: Callable[[Any], Any], rows: Tensor | list[str]) -> Any:
        try:
            return encode(rows)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise ValueError(
                f"{name_of_network(self.module)} failed on a batch of shape "
                f"{tuple(np.shape(rows))}: {error}. Check what it takes, and bring "
                "samples to that shape in preprocess."
            ) from error

    def _as_rows(self, output: Any, n_samples: int) -> np.ndarray:
        """Return the output of the network as float32 of shape (n_samples, embedding_dim)."""
        if not isinstance(output, (Tensor, np.ndarray)):
            raise TypeError(
                f"{name_of_network(self.module)} must return a tensor or an array. Got "
                f"{describe(output)}. {RETURN_ONE}"
            )
        if output.ndim == 0 or len(output) != n_samples:
            raise ValueError(
                f"{name_of_network(self.module)} must return one embedding a sample: shape "
                f"(n_samples, ...). Got {tuple(output.shape)} for {n_samples} samples."
            )
        array = output.detach().float().cpu().numpy() if isinstance(output, Tensor) else output
        return array.reshape(n_samples, -1).astype(np.float32, copy=False)

    def _check_embedding(self, embedding: np.ndarray, names: list[str]) -> None:
        width = getattr(self, "embedding_dim_", embedding.shape[1])
        if embedding.shape[1] != width:
            raise ValueError(
                f"{OWNER} was fitted to embeddings of length {width}, but its network returns "
                f"{embedding.shape[1]} values a sample. It was exchanged or changed: fit again."
            )
        finite = np.isfinite(embedding).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"{name_of_network(self.module)} returned NaN or infinity for "
                f"{names[int(np.argmin(finite))]}. Check the scale of X and the weights."
            )

    # ------------------------------------------------------------------ scikit-learn's protocol

    @property
    def _n_features_out(self) -> int:
        return self.embedding_dim_

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: the network is there from the start."""
        return True

    def __sklearn_tags__(self) -> Any:
        """Transformer of input of any number of dimensions, which learns nothing."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        tags.requires_fit = False
        return tags

    def __sklearn_clone__(self) -> FrozenEncoder:
        """Clone without what was fitted."""
        return copy.deepcopy(unfitted_copy(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenEncoder:
        """Copy all but the network, which is shared, since nothing here changes it."""
        copied = object.__new__(type(self))
        shared = {id(getattr(self, name)): getattr(self, name) for name in SHARED}
        copied.__dict__ = copy.deepcopy(self.__dict__, memo | shared)  # what a memo has is kept
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """Return weights as numpy arrays: equal for equal networks, free of their device."""
        state = super().__getstate__().copy()
        for name in SHARED:
            if isinstance(state[name], nn.Module):
                state[name] = StoredModule(state[name])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Build the networks again, on the CPU."""
        restored = {k: v.module() for k, v in state.items() if isinstance(v, StoredModule)}
        super().__setstate__(state | restored)


# scikit-learn's own wrapper takes the names of columns from what `fit` learned.
FrozenEncoder.transform = inspect.unwrap(FrozenEncoder.transform)  # type: ignore[method-assign]
