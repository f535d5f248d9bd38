"""Conditional neural processes (Garnelo et al., 2018)."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Unpack

from ...nn.regression import NeuralProcessHead
from ...utils._sklearn import Interval
from ...utils._typing import Backbone
from .._docs import with_common_parameters
from .._parameters import CommonRegressorParameters
from .._regressor import BaseFewShotRegressor

DEFAULTS: CommonRegressorParameters = {
    "n_shot": (1, 20),
    "n_query": 10,
    "meta_batch_size": 16,
    "episodes_per_epoch": 1600,
    "lr": 1e-3,
}


@with_common_parameters(**DEFAULTS)
class NeuralProcessRegressor(BaseFewShotRegressor):
    r"""Conditional neural process: a network reads the examples and predicts the queries.

    One network represents each example with its value, another predicts from the mean of these
    representations. It takes hundreds of base tasks: of few it memorises the functions.

    Parameters
    ----------
    hidden_dim : int, default=128
        Units of each hidden layer.
    {common_parameters}

    Attributes
    ----------
    {common_attributes}

    See Also
    --------
    RidgeNetRegressor : A closed form on learned features, which also learns from few tasks.
    FewShotRegressor : What ``adapt`` returns.

    Notes
    -----
    With embeddings ``x`` and multi-layer perceptrons ``h`` (three hidden layers) and ``g`` (two):

    .. math::

        r = \frac{1}{|S|} \sum_i h(x_i, y_i), \qquad (\mu, s) = g(x, r), \qquad
        \sigma = 0.1 + 0.9\, \mathrm{softplus}(s)

    The loss is the negative log-likelihood of the queries. The prediction does not depend on the
    order of the examples; giving each twice changes nothing. Unlike a regression, it need not pass
    near the examples it has read.

    Differences from the paper: values are standardised by the base tasks; the targets of an episode
    do not include its context; one episode in twenty has no examples, which trains the prior.

    References
    ----------
    M. Garnelo, D. Rosenbaum, C. J. Maddison, T. Ramalho, D. Saxton, M. Shanahan, Y. W. Teh,
    D. J. Rezende and S. M. A. Eslami, "Conditional Neural Processes", ICML 2018.

    Examples
    --------
    >>> from sklearn_fewshot import NeuralProcessRegressor
    >>> from sklearn_fewshot.datasets import make_sinusoids
    >>> X, y, tasks = make_sinusoids(n_tasks=500, n_samples=30, random_state=0)
    >>> learner = NeuralProcessRegressor(max_epochs=5, random_state=0).fit(X, y, tasks=tasks)
    >>> values, std = learner.predict(X[10:30], X_support=X[:10], y_support=y[:10], return_std=True)
    >>> values.shape, std.shape
    ((20,), (20,))
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "hidden_dim": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self, *, hidden_dim: int = 128, **common: Unpack[CommonRegressorParameters]
    ) -> None:
        self.hidden_dim = hidden_dim
        super().__init__(**common)

    def _backbone(self) -> Backbone:
        is_vector = len(self.input_shape_) == 1
        return "identity" if self.backbone == "auto" and is_vector else self.backbone

    def _head(self) -> tuple[type, dict[str, Any]]:
        return NeuralProcessHead, {"n_targets": self.n_outputs_, "hidden_dim": self.hidden_dim}
