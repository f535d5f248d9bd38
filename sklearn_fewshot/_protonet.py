"""Prototypical Networks (Snell, Swersky and Zemel, 2017)."""

from __future__ import annotations

from typing import Any

from ._base import BaseFewShotLearner
from .nn.heads import PrototypicalHead
from .utils._docs import with_common_parameters


@with_common_parameters
class ProtoNetClassifier(BaseFewShotLearner):
    r"""Prototypical Network: the class whose mean embedding is nearest.

    Meta-train once on many old classes; then a handful of examples makes a classifier of new ones,
    in milliseconds and without training.

    Parameters
    ----------
    metric : str or callable, default="sqeuclidean"
        Distance between queries and prototypes: "sqeuclidean", "euclidean", "cosine" or
        "cityblock", as in scipy. A callable takes torch tensors of shape (..., n_queries, d) and
        (..., n_classes, d), is differentiable, and returns (..., n_queries, n_classes).
    scale : float or "auto", default="auto"
        Factor of the distance in the softmax. "auto" starts at 1, as in the paper, for networks
        with random weights, and at one over the median distance within training episodes for those
        that start from the input itself ("residual_mlp", "conv1d", "identity").
    learn_scale : bool, default=True
        Whether training adjusts the scale. The paper has ``scale=1, learn_scale=False``.
    {common_parameters}

    Attributes
    ----------
    scale_ : float
        Scale after training.
    {common_attributes}

    See Also
    --------
    FewShotClassifier : What ``adapt`` returns.
    sklearn_fewshot.model_selection.episodic_score : Honest evaluation on new classes.
    sklearn.neighbors.NearestCentroid : The same classifier without meta-training.

    Notes
    -----
    With the embedding network ``f`` and the support set ``S_k`` of class ``k`` (equations 1 and 2
    of the paper):

    .. math::

        c_k = \frac{1}{|S_k|} \sum_{x \in S_k} f(x), \qquad
        P(k \mid q) = \frac{\exp(-s\, d(f(q), c_k))}{\sum_{k'} \exp(-s\, d(f(q), c_{k'}))}

    with squared Euclidean distance ``d``. Training minimises the mean cross-entropy of the queries.
    Differences from the paper: the scale ``s`` is learned (1 in the paper), the learning rate falls
    along a cosine, and the weights kept are those that score best on held-out classes.

    References
    ----------
    J. Snell, K. Swersky and R. Zemel, "Prototypical Networks for Few-shot Learning", NIPS 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import ProtoNetClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> old, new = y < 7, y >= 7
    >>> learner = ProtoNetClassifier(max_epochs=5, random_state=0).fit(X[old], y[old])
    >>> X_new, y_new = X[new], y[new]
    >>> classifier = learner.adapt(X_new[:15], y_new[:15])
    >>> bool(classifier.score(X_new[15:], y_new[15:]) > 0.8)
    True
    """

    def __init__(
        self,
        *,
        metric: Any = "sqeuclidean",
        scale: Any = "auto",
        learn_scale: bool = True,
        backbone: Any = "auto",
        n_way: Any = 60,
        n_shot: Any = (1, 5),
        n_query: int = 5,
        meta_batch_size: int = 1,
        episodes_per_epoch: int = 50,
        max_epochs: int = 30,
        optimizer: Any = "adam",
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        lr_schedule: Any = "cosine",
        validation_fraction: float = 0.2,
        validation_classes: Any = None,
        patience: int | None = 10,
        refit: Any = "auto",
        freeze_backbone: bool = False,
        augment: Any = None,
        callbacks: Any = None,
        input_shape: Any = None,
        device: Any = "auto",
        precision: str = "auto",
        compile: bool = False,
        predict_batch_size: int = 256,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: int = 0,
        net_params: dict[str, Any] | None = None,
    ) -> None:
        self.metric = metric
        self.scale = scale
        self.learn_scale = learn_scale
        self.backbone = backbone
        self.n_way = n_way
        self.n_shot = n_shot
        self.n_query = n_query
        self.meta_batch_size = meta_batch_size
        self.episodes_per_epoch = episodes_per_epoch
        self.max_epochs = max_epochs
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.validation_fraction = validation_fraction
        self.validation_classes = validation_classes
        self.patience = patience
        self.refit = refit
        self.freeze_backbone = freeze_backbone
        self.augment = augment
        self.callbacks = callbacks
        self.input_shape = input_shape
        self.device = device
        self.precision = precision
        self.compile = compile
        self.predict_batch_size = predict_batch_size
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.net_params = net_params

    def _head(self, scale: float) -> tuple[type, dict[str, Any]]:
        options = {"metric": self.metric, "scale": scale, "learn_scale": self.learn_scale}
        return PrototypicalHead, options
