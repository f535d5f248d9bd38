"""Model-agnostic meta-learning for regression (Finn, Abbeel and Levine, 2017)."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Literal, Self, Unpack

from ...nn import FewShotModule
from ...nn.heads import Head
from ...nn.optimization import GradientModule
from ...utils._sklearn import Interval, StrOptions
from ...utils._typing import Backbone
from .._docs import with_common_parameters
from .._parameters import CommonRegressorParameters
from .._regressor import BaseFewShotRegressor
from ..optimization._base import AdaptsWeights, n_batches

DEFAULTS: CommonRegressorParameters = {
    "n_shot": (1, 20),
    "n_query": 10,
    "meta_batch_size": 25,
    "episodes_per_epoch": 2500,
    "lr": 1e-3,
}


@with_common_parameters(**DEFAULTS)
class MAMLRegressor(AdaptsWeights, BaseFewShotRegressor):
    r"""Model-agnostic meta-learning for regression: gradient steps from weights trained for it.

    ``adapt`` takes a few gradient steps on the squared error of the examples; training goes through
    these steps. :class:`RidgeNetRegressor` is more accurate in less time on what was measured.

    Parameters
    ----------
    n_steps : int, default=3
        Gradient steps.
    step_size : float, default=0.01
        Step size at the start of training, for the mean squared error of standardised values.
    learn_step_size : {"layer", "element", False}, default="layer"
        Whether training adjusts the step sizes: one for each layer and step, or one for each
        weight (Meta-SGD).
    first_order : bool or float, default=False
        Whether training takes the gradients of the steps for constants, or in which share of it, at
        its beginning.
    multi_step_loss : bool, default=True
        Whether the loss after each step counts at the beginning of training, not only after the
        last one.
    {common_parameters}

    Attributes
    ----------
    {common_attributes}

    See Also
    --------
    RidgeNetRegressor : A closed form on learned features.
    MAMLClassifier : The same for classes, with the equations.

    Notes
    -----
    All weights take the steps, the last layer with the others; "auto" takes a multi-layer
    perceptron of 64 hidden units for tables. Standard deviations are those of the errors on
    held-out tasks, by the number of examples.

    References
    ----------
    C. Finn, P. Abbeel and S. Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep
    Networks", ICML 2017 (section 5.1).

    Z. Li, F. Zhou, F. Chen and H. Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning",
    2017.

    Examples
    --------
    >>> from sklearn_fewshot import MAMLRegressor
    >>> from sklearn_fewshot.datasets import make_sinusoids
    >>> X, y, tasks = make_sinusoids(n_tasks=300, n_samples=30, random_state=0)
    >>> base = tasks < 299
    >>> learner = MAMLRegressor(max_epochs=1, episodes_per_epoch=100, random_state=0)
    >>> learner = learner.fit(X[base], y[base], tasks=tasks[base])
    >>> X_new, y_new = X[~base], y[~base]
    >>> learner.adapt(X_new[:10], y_new[:10]).predict(X_new[10:]).shape
    (20,)
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "n_steps": [Interval(Integral, 0, 1000, closed="both")],
        "step_size": [Interval(Real, 0, None, closed="neither")],
        "learn_step_size": [StrOptions({"layer", "element"}), "boolean"],
        "first_order": ["boolean", Interval(Real, 0, 1, closed="both")],
        "multi_step_loss": ["boolean"],
    }

    def __init__(
        self,
        *,
        n_steps: int = 3,
        step_size: float = 0.01,
        learn_step_size: Literal["layer", "element", False] = "layer",
        first_order: bool | float = False,
        multi_step_loss: bool = True,
        **common: Unpack[CommonRegressorParameters],
    ) -> None:
        self.n_steps = n_steps
        self.step_size = step_size
        self.learn_step_size = learn_step_size
        self.first_order = first_order
        self.multi_step_loss = multi_step_loss
        super().__init__(**common)

    def _backbone(self) -> Backbone:
        return mlp_of_vectors(self)

    def _head(self) -> tuple[type[Head], dict[str, Any]]:
        return Head, {}  # the last layer is adapted with the others

    def _module(self) -> tuple[type[FewShotModule], dict[str, Any]]:
        _, options = super()._module()
        options["backbone_options"] = small_mlp(self)
        adaptation = {
            "start": "value",
            "n_targets": self.n_outputs_,
            "n_steps": int(self.n_steps),
            "step_size": float(self.step_size),
            "learn_step_size": self.learn_step_size,
            "first_order": self.first_order,
            "multi_step_loss": self.multi_step_loss,
            "n_batches": n_batches(self),
        }
        return GradientModule, options | {"adaptation": adaptation}

    def with_steps(self, n_steps: int) -> Self:
        """Return this fitted learner with another number of gradient steps.

        Parameters
        ----------
        n_steps : int
            Gradient steps. Step sizes that were learned are of the steps that were trained, so
            there cannot be more; for fewer, the first of them are taken. One for each weight is for
            all steps together: only 0 steps can be taken instead.

        Returns
        -------
        learner : MAMLRegressor
            A copy; its weights are those of this learner. Its intervals are not calibrated.

        Raises
        ------
        ValueError
            If the step sizes were learned for another number of steps.

        Examples
        --------
        >>> from sklearn_fewshot import MAMLRegressor
        >>> from sklearn_fewshot.datasets import make_sinusoids
        >>> X, y, tasks = make_sinusoids(n_tasks=20, n_samples=30, random_state=0)
        >>> learner = MAMLRegressor(max_epochs=0, random_state=0).fit(X, y, tasks=tasks)
        >>> learner.with_steps(0).n_steps
        0
        """
        return self._with_steps(n_steps)


def small_mlp(learner: BaseFewShotRegressor) -> dict[str, Any]:
    """Return options of the backbone "auto": every task has weights of its own."""
    return {"hidden_dim": 64} if mlp_of_vectors(learner) != learner.backbone else {}


def mlp_of_vectors(learner: BaseFewShotRegressor) -> Backbone:
    """Return the backbone; of vectors "auto" is a multi-layer perceptron."""
    is_vector = len(learner.input_shape_) == 1
    return "mlp" if learner.backbone == "auto" and is_vector else learner.backbone
