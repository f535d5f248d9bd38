"""Model-agnostic meta-learning (Finn, Abbeel and Levine, 2017) and its relatives."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Literal, Self, Unpack

import torch

from ...nn import FewShotModule
from ...nn.backbones import starts_from_features
from ...nn.heads import GradientHead, Head, PrototypicalHead
from ...nn.optimization import GradientModule
from ...utils._sklearn import Interval, StrOptions
from .._docs import with_common_parameters
from .._few_shot import BaseFewShotLearner
from .._parameters import CommonParameters
from ._base import AdaptsWeights, check_takes_step, n_batches, strided


@with_common_parameters(
    n_way=5,
    n_shot=(1, 5),
    n_query=5,
    rotate_support=False,
    lr=1e-3,
    meta_batch_size=8,
    episodes_per_epoch=400,
)
class MAMLClassifier(AdaptsWeights, BaseFewShotLearner):
    r"""Model-agnostic meta-learning: a few gradient steps from weights that were trained for it.

    ``adapt`` takes gradient steps on the examples of the new classes; training goes through these
    steps, so that they lead to weights that recognise other examples. By default they start from
    the Prototypical Network of the examples: with ``n_steps=0`` it is one.

    Parameters
    ----------
    adapts : {"all", "body", "head"}, default="all"
        What takes the steps: all weights, all but the last layer, or the last layer alone. With
        "head" samples are embedded once, by a network that does not change.
    start : {"prototype", "shared"}, default="prototype"
        Where the last layer starts: as the Prototypical Network, or from one learned row that all
        classes share.
    n_steps : int, default=3
        Gradient steps. With "shared", whose first step cannot change the body, at least two.
    step_size : float, default=0.05
        Step size at the start of training, for a mean loss; that of the last layer is multiplied by
        the number of classes.
    learn_step_size : {"layer", "element", False}, default="layer"
        Whether training adjusts the step sizes: one for each layer and step, or one for each
        weight.
    first_order : bool or float, default=False
        Whether training takes the gradients of the steps for constants, which is less expensive. A
        number is the share of the training, at its beginning, in which it does. Of "head" only
        True has an effect.
    multi_step_loss : bool, default=True
        Whether the loss after each step counts at the beginning of training, not only after the
        last one. Without effect on "head".
    {common_parameters}

    Attributes
    ----------
    {common_attributes}

    See Also
    --------
    ProtoNetClassifier : As good or better on Omniglot after equal time, and quicker to adapt.
    FewShotClassifier : What ``adapt`` returns.

    Notes
    -----
    With the weights :math:`\theta`, the loss :math:`L_S` of the support set, the mean of its
    classes' mean cross-entropies, and that of the queries :math:`L_Q`:

    .. math::

        \theta_0 = \theta, \qquad \theta_{j+1} = \theta_j - \alpha_j \nabla L_S(\theta_j), \qquad
        \min_{\theta, \alpha} \sum_\tau L_Q(\theta_J)

    Relatives are settings:

    ================================== =========================================================
    method                             settings
    ================================== =========================================================
    MAML (Finn et al., 2017)           ``start="shared", learn_step_size=False,
                                       multi_step_loss=False``
    first-order MAML (the same)        and ``first_order=True``
    Meta-SGD (Li et al., 2017)         ``start="shared", learn_step_size="element",
                                       multi_step_loss=False``
    MAML++ (Antoniou et al., 2019)     ``start="shared", first_order=0.5``
    ANIL (Raghu et al., 2020)          ``start="shared", adapts="head"``
    BOIL (Oh et al., 2021)             ``adapts="body"``, from prototypes
    Proto-MAML (Triantafillou et al.,  ``first_order=True``
    2020)
    UNICORN-MAML (Ye and Chao, 2022)   ``start="shared", first_order=True, n_steps=15``
    ================================== =========================================================

    Differences from the papers: a last layer with a row for each of a fixed number of classes, as
    in MAML, makes a prediction depend on which class gets which row, and fixes their number; rows
    that start equal do neither. Batch normalisation goes by the moments of the support set, mixed
    with running ones (:class:`~sklearn_fewshot.nn.optimization.TaskNorm`), so that no query is seen
    by another; MAML normalises by the queries, which raises its accuracy. Its scales and offsets
    are trained but take no steps. Dropout has no effect. Examples come in an order of their own, so
    that theirs has no effect. Losses of the steps are means over classes; a step size published for
    the sum over all examples divided by ``n_shot`` is to be multiplied by ``n_way``: 0.4 for five
    classes is 2.0 here.

    Base classes, and old and new classes together (``include_base``), are compared by the network
    before the steps, with class means: steps on the new classes alone would unlearn the old. So are
    the embeddings of ``transform``.

    References
    ----------
    C. Finn, P. Abbeel and S. Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep
    Networks", ICML 2017.

    Z. Li, F. Zhou, F. Chen and H. Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning",
    2017.

    A. Antoniou, H. Edwards and A. Storkey, "How to Train Your MAML", ICLR 2019.

    A. Raghu, M. Raghu, S. Bengio and O. Vinyals, "Rapid Learning or Feature Reuse?", ICLR 2020.

    J. Oh, H. Yoo, C. Kim and S.-Y. Yun, "BOIL: Towards Representation Change for Few-Shot
    Learning", ICLR 2021.

    E. Triantafillou et al., "Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few
    Examples", ICLR 2020.

    H.-J. Ye and W.-L. Chao, "How to Train Your MAML to Excel in Few-Shot Classification", ICLR
    2022.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import MAMLClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 7, y >= 7
    >>> learner = MAMLClassifier(max_epochs=2, episodes_per_epoch=40, random_state=0)
    >>> learner = learner.fit(X[base], y[base])
    >>> X_new, y_new = X[new], y[new]
    >>> classifier = learner.adapt(X_new[:15], y_new[:15])
    >>> bool(classifier.score(X_new[15:], y_new[15:]) > 0.8)
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "adapts": [StrOptions({"all", "body", "head"})],
        "start": [StrOptions({"prototype", "shared"})],
        "n_steps": [Interval(Integral, 0, 1000, closed="both")],
        "step_size": [Interval(Real, 0, None, closed="neither")],
        "learn_step_size": [StrOptions({"layer", "element"}), "boolean"],
        "first_order": ["boolean", Interval(Real, 0, 1, closed="both")],
        "multi_step_loss": ["boolean"],
    }

    def __init__(
        self,
        *,
        adapts: Literal["all", "body", "head"] = "all",
        start: Literal["prototype", "shared"] = "prototype",
        n_steps: int = 3,
        step_size: float = 0.05,
        learn_step_size: Literal["layer", "element", False] = "layer",
        first_order: bool | float = False,
        multi_step_loss: bool = True,
        **common: Unpack[CommonParameters],
    ) -> None:
        self.adapts = adapts
        self.start = start
        self.n_steps = n_steps
        self.step_size = step_size
        self.learn_step_size = learn_step_size
        self.first_order = first_order
        self.multi_step_loss = multi_step_loss
        super().__init__(**common)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_takes_step(self.start, self.n_steps)
        if self.adapts == "body" and self.start == "shared":
            raise ValueError(
                "MAMLClassifier has adapts='body' and start='shared': rows of the last layer that "
                "are equal and take no steps give all classes the same score, and the body no "
                "gradient. Set start='prototype', or adapts='all'."
            )

    def _head(self) -> tuple[type[Head], dict[str, Any]]:
        if self.adapts != "head":
            return PrototypicalHead, {"learn_scale": True}
        return GradientHead, {**self._steps(), "start": self.start}

    def _module(self) -> tuple[type[FewShotModule], dict[str, Any]]:
        module, options = super()._module()
        if self.adapts == "head":
            return module, options
        adaptation = self._steps() | {
            "start": self.start,
            "n_targets": None,
            "adapts": self.adapts,
            "multi_step_loss": self.multi_step_loss,
            "n_batches": n_batches(self) if self._changes_with_time() else 1,
        }
        return GradientModule, options | {"adaptation": adaptation}

    def _changes_with_time(self) -> bool:
        """Whether a batch early in the training counts otherwise than a late one."""
        return self.multi_step_loss or not isinstance(self.first_order, bool)

    def _steps(self) -> dict[str, Any]:
        return {
            "n_steps": int(self.n_steps),
            "step_size": float(self.step_size),
            "learn_step_size": self.learn_step_size,
            "first_order": self.first_order,
        }

    def _backbone(self) -> Any:
        return self.backbone if self.adapts == "head" else strided(self)

    def _measures_start(self, backbone: torch.nn.Module) -> bool:
        return starts_from_features(backbone)

    def with_steps(self, n_steps: int) -> Self:
        """Return this fitted learner with another number of gradient steps.

        Parameters
        ----------
        n_steps : int
            Gradient steps. Step sizes that were learned are of the steps that were trained, so
            there cannot be more; for fewer, the first of them are taken. One for each weight is for
            all steps together: only 0 steps can be taken instead. At least 1 after
            ``start="shared"``.

        Returns
        -------
        learner : MAMLClassifier
            A copy; its weights are those of this learner. Its scores are not calibrated.

        Raises
        ------
        ValueError
            If the step sizes were learned for another number of steps, or one shared row takes no
            step.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from sklearn_fewshot import MAMLClassifier
        >>> X, y = load_digits(return_X_y=True)
        >>> learner = MAMLClassifier(max_epochs=0, random_state=0).fit(X[y < 7], y[y < 7])
        >>> learner.with_steps(0).n_steps
        0
        """
        return self._with_steps(n_steps)
