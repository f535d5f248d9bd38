"""Bayesian linear regression on learned features (Harrison et al., 2018)."""

from __future__ import annotations

from numbers import Real
from typing import Any, Unpack

from ...nn._embedding_module import head_of
from ...nn.regression import BayesianRidgeHead
from ...training._meta_train import Trained
from ...utils._sklearn import Interval
from ...utils._typing import Backbone
from .._docs import with_common_parameters
from .._parameters import CommonRegressorParameters
from .._regressor import BaseFewShotRegressor

DEFAULTS: CommonRegressorParameters = {
    "n_shot": (1, 20),
    "n_query": 10,
    "meta_batch_size": 16,
    "episodes_per_epoch": 400,
    "max_epochs": 60,
    "patience": 20,
    "lr": 1e-3,
}


@with_common_parameters(**DEFAULTS)
class RidgeNetRegressor(BaseFewShotRegressor):
    r"""Ridge regression on learned features, trained through its closed form.

    The features are learned so that a Bayesian linear regression on them, of a few examples,
    predicts the rest of a task. It is solved exactly, in milliseconds: what to try first.

    Parameters
    ----------
    penalty : float, default=1.0
        Penalty of the coefficients at the start of training, which adjusts it.
    {common_parameters}

    Attributes
    ----------
    penalty_ : float
        Penalty after training.
    noise_ : float64 ndarray of shape (n_outputs,)
        Standard deviation of the noise after training, in the units of y.
    {common_attributes}

    See Also
    --------
    NeuralProcessRegressor : A network reads the examples; for hundreds of tasks.
    FewShotRegressor : What ``adapt`` returns.
    sklearn.linear_model.BayesianRidge : The same regression without meta-training.

    Notes
    -----
    With features :math:`\varphi`, the embedding and a one, rows :math:`\varphi_i` of :math:`\Phi`,
    and the prior :math:`w \sim N(\mu, \sigma^2 / \lambda\, I)` of the coefficients:

    .. math::

        \hat y = \varphi^\top \mu + \varphi^\top \Phi^\top (\Phi \Phi^\top + \lambda I)^{-1}
                 (y - \Phi \mu), \qquad
        \operatorname{var} = \sigma^2 \big(1 + \varphi^\top (\Phi^\top \Phi + \lambda I)^{-1}
                             \varphi\big)

    The loss is the negative log-likelihood of the queries; in the first tenth of training the
    squared error. Values are standardised by the base tasks, never by the support set. Differences
    from the paper: the prior covariance is a multiple of the identity, since the features are
    learned, and the noise is learned.

    References
    ----------
    J. Harrison, A. Sharma and M. Pavone, "Meta-Learning Priors for Efficient Online Bayesian
    Regression", WAFR 2018.

    L. Bertinetto, J. F. Henriques, P. H. S. Torr and A. Vedaldi, "Meta-learning with
    differentiable closed-form solvers", ICLR 2019.

    Examples
    --------
    >>> from sklearn_fewshot import RidgeNetRegressor
    >>> from sklearn_fewshot.datasets import make_sinusoids
    >>> X, y, tasks = make_sinusoids(n_tasks=300, n_samples=30, random_state=0)
    >>> base = tasks < 299
    >>> learner = RidgeNetRegressor(max_epochs=3, random_state=0)
    >>> learner = learner.fit(X[base], y[base], tasks=tasks[base])
    >>> X_new, y_new = X[~base], y[~base]
    >>> regressor = learner.adapt(X_new[:10], y_new[:10])
    >>> bool(regressor.score(X_new[10:], y_new[10:]) > 0.5)
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "penalty": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self, *, penalty: float = 1.0, **common: Unpack[CommonRegressorParameters]
    ) -> None:
        self.penalty = penalty
        super().__init__(**common)

    def _backbone(self) -> Backbone:
        is_vector = len(self.input_shape_) == 1
        return "mlp" if self.backbone == "auto" and is_vector else self.backbone

    def _head(self) -> tuple[type, dict[str, Any]]:
        return BayesianRidgeHead, {
            "n_targets": self.n_outputs_,
            "penalty": float(self.penalty),
            "n_squared_steps": self._n_steps() // 10,
        }

    def _fitted_attributes(self, trained: Trained) -> dict[str, Any]:
        head = head_of(trained.network.module, BayesianRidgeHead)
        noise = head.noise.double().cpu().numpy() * self.y_scale_
        fitted = super()._fitted_attributes(trained)
        return fitted | {"penalty_": float(head.penalty), "noise_": noise}
