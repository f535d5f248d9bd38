"""The baseline: ordinary classification of the base classes (Chen et al., 2019)."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Literal, Unpack

import numpy as np
import torch

from ...nn import (
    ClassifierModule,
    CosineClassifier,
    EmbeddingModule,
    SampleLoader,
    resolve_augmentation,
)
from ...nn.backbones import embedding_shape, starts_from_features
from ...nn.heads import AnchoredCentroidHead, CentroidHead, UnitLengthHead
from ...training._config import Task, TrainingConfig
from ...training._data import TrainingData
from ...training._start import start_classifier, training_features
from ...utils._sklearn import Interval, StrOptions
from .._docs import with_common_parameters
from .._few_shot import BaseFewShotLearner
from .._parameters import CommonParameters


@with_common_parameters(n_shot=(1, 5), n_query=5, rotate_support=False, lr=1e-3)
class BaselineClassifier(BaseFewShotLearner):
    r"""Ordinary classifier of the base classes, whose embedding then serves new ones.

    The baseline that every few-shot method has to beat, often a hard one: no episodes, only a
    network trained to classify the base classes. New classes are compared on its embedding, centred
    by the mean of the base classes and scaled to unit length.

    Parameters
    ----------
    classifier : {"softmax", "cosine"}, default="softmax"
        The last layer in training: linear ("Baseline" of the paper), or by cosines to one weight
        vector per class ("Baseline++").
    scale : float, default=10.0
        Factor of the cosines, in the cosine classifier and in the probabilities of centroids.
    readout : {"centroid", "anchored"}, default="centroid"
        How new classes are recognised: by the cosine to the mean of their examples, or by logistic
        regression of the support set that is anchored there (see
        :class:`~sklearn_fewshot.nn.heads.AnchoredHead`), which is better the more examples there
        are.
    batch_size : int, default=256
        Samples per optimisation step.
    {common_parameters}

    Attributes
    ----------
    {common_attributes}

    See Also
    --------
    ProtoNetClassifier : Trains for the comparison itself.
    FewShotClassifier : What ``adapt`` returns.

    Notes
    -----
    Training minimises the cross-entropy of the base classes over single samples; ``n_way``,
    ``n_shot`` and ``n_query`` describe only the episodes of held-out classes that choose the best
    weights, and an epoch has ``episodes_per_epoch`` batches of ``batch_size`` samples. With
    ``tasks`` the classes of the classifier are the pairs of task and label, and these episodes have
    classes of one task. Then, with the mean ``m`` of the base classes' embeddings and
    :math:`\hat f(x) = (f(x) - m) / \lVert f(x) - m \rVert`,

    .. math::

        c_k = \frac{1}{|S_k|} \sum_{x \in S_k} \hat f(x), \qquad
        P(k \mid q) = \operatorname{softmax}_k \big( s \cos(\hat f(q), c_k) \big)

    or the logits of the anchored regression. Differences from the paper: centroids in place of a
    classifier that is trained again, and centring and unit length (Wang et al., 2019).

    References
    ----------
    W.-Y. Chen, Y.-C. Liu, Z. Kira, Y.-C. F. Wang and J.-B. Huang, "A Closer Look at Few-shot
    Classification", ICLR 2019.

    Y. Wang, W.-L. Chao, K. Q. Weinberger and L. van der Maaten, "SimpleShot: Revisiting
    Nearest-Neighbor Classification for Few-Shot Learning", 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import BaselineClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 7, y >= 7
    >>> learner = BaselineClassifier(max_epochs=5, random_state=0).fit(X[base], y[base])
    >>> X_new, y_new = X[new], y[new]
    >>> classifier = learner.adapt(X_new[:15], y_new[:15])
    >>> bool(classifier.score(X_new[15:], y_new[15:]) > 0.8)
    True
    """

    _parameter_docs = {"rotate_support": "Not used: training is not on episodes."}
    _parameter_constraints: dict[str, list[Any]] = {
        "classifier": [StrOptions({"softmax", "cosine"})],
        "scale": [Interval(Real, 0, None, closed="neither")],
        "readout": [StrOptions({"centroid", "anchored"})],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(
        self,
        *,
        classifier: Literal["softmax", "cosine"] = "softmax",
        scale: float = 10.0,
        readout: Literal["centroid", "anchored"] = "centroid",
        batch_size: int = 256,
        **common: Unpack[CommonParameters],
    ) -> None:
        self.classifier = classifier
        self.scale = scale
        self.readout = readout
        self.batch_size = batch_size
        super().__init__(**common)

    def _head(self) -> tuple[type, dict[str, Any]]:
        head = AnchoredCentroidHead if self.readout == "anchored" else CentroidHead
        return head, {"scale": self.scale}

    def _adjust(self, config: TrainingConfig, data: TrainingData) -> TrainingConfig:
        return config.replace(
            wrap=self._with_classifier,
            load=self._load_samples,
            finish=_center_embeddings,
            refits_start=True,  # the center, even of an untrained network
        )

    def _with_classifier(self, module: EmbeddingModule, task: Task) -> ClassifierModule:
        """Return the network with a classifier of the training classes on top."""
        shape = embedding_shape(module.backbone, tuple(task.store.data.shape[1:]))
        n_features, n_classes = int(np.prod(shape)), int(task.data.training.sum())
        if self.classifier == "cosine":
            classifier: torch.nn.Linear = CosineClassifier(n_features, n_classes, self.scale)
        else:
            classifier = torch.nn.Linear(n_features, n_classes)
        _center_embeddings(module, task)
        if starts_from_features(module.backbone):
            start_classifier(classifier, module, task)
        return ClassifierModule(module.backbone, module.head, classifier, module.autocast_dtype)

    def _load_samples(self, task: Task) -> SampleLoader:
        """Return batches of single samples of the training classes."""
        is_trained, codes = task.data.training, task.data.codes
        rows = np.flatnonzero(is_trained[codes])
        return SampleLoader(
            task.store,
            rows,
            (np.cumsum(is_trained) - 1)[codes[rows]],
            batch_size=self.batch_size,
            n_batches=self.episodes_per_epoch,
            rng=task.rng,
            augment=resolve_augmentation(self.augment),
        )


def _center_embeddings(module: EmbeddingModule, task: Task) -> None:
    """Let embeddings be centred by their mean; in training it is followed from batch to batch."""
    assert isinstance(module.head, UnitLengthHead)
    module.head.follow(training_features(module, task)[1], momentum=1.0)
