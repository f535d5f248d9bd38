"""``adapt``: support sets for learners, also at the end of pipelines and searches."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, overload

from sklearn.utils.validation import check_is_fitted

from ..network import RegressionNetwork
from ..utils._typing import ArrayLike, Estimator, Label, Refinement
from ._classifier import FewShotClassifier
from ._learner import check_learner
from ._regressor import FewShotRegressor
from ._unlabelled import DEFAULT
from ._walk import Path, check_is_no_search, walk

A = TypeVar("A", covariant=True)


class _Adapts(Protocol[A]):
    def adapt(self, X_support: ArrayLike, y_support: ArrayLike) -> A: ...


@overload
def adapt(
    estimator: _Adapts[A],
    X_support: ArrayLike,
    y_support: ArrayLike,
    *,
    include_base: bool = ...,
    unlabelled: Label | None = ...,
    refinement: Refinement = ...,
) -> A: ...


@overload
def adapt(
    estimator: Estimator,
    X_support: ArrayLike,
    y_support: ArrayLike,
    *,
    include_base: bool = ...,
    unlabelled: Label | None = ...,
    refinement: Refinement = ...,
) -> Estimator: ...


def adapt(
    estimator: Estimator,
    X_support: ArrayLike,
    y_support: ArrayLike,
    *,
    include_base: bool = False,
    unlabelled: Label | None = None,
    refinement: Refinement = DEFAULT,
) -> Estimator:
    """Adapt a fitted learner, or a pipeline or search that ends in one, to new classes or tasks.

    In a pipeline the support set passes through the fitted transformers first, which are not
    refitted; :meth:`Pipeline.predict(X, X_support=...) <sklearn.pipeline.Pipeline.predict>` would
    pass it to the last step untransformed, so learners raise an error.

    Parameters
    ----------
    estimator : fitted learner, Pipeline, search, FewShotClassifier or FewShotRegressor
        A pipeline's last step, or a search's best estimator, must be a learner or be adapted
        already. It is not changed, and later changes of it change nothing that was adapted.
    X_support : array-like of shape (n_support, ...)
        Examples of the new classes or task, as the estimator's ``predict`` takes them.
    y_support : array-like of shape (n_support,)
        Their labels, or values.
    include_base : bool, default=False
        Whether to keep the base classes together with the new ones, as in
        :meth:`ProtoNetClassifier.adapt`.
    unlabelled : label or None, default=None
        The label in ``y_support`` that marks unlabelled examples, as in
        :meth:`ProtoNetClassifier.adapt`.
    refinement : {"alpha_tim", "bd_cspn", "soft_kmeans"}, default="alpha_tim"
        How unlabelled examples refine class means: see :class:`FewShotClassifier`.

    Returns
    -------
    adapted : FewShotClassifier, FewShotRegressor or Pipeline
        A :class:`FewShotClassifier` or :class:`FewShotRegressor`, or a pipeline that ends in one,
        of frozen copies of the transformers.

    Raises
    ------
    TypeError
        If the estimator cannot be adapted, or is adapted already or a regressor and
        ``include_base``, ``unlabelled`` or ``refinement`` is given.
    NotFittedError
        If it is not fitted.

    See Also
    --------
    FewShotPipeline : A pipeline whose ``predict`` takes a support set.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_fewshot import ProtoNetClassifier, adapt
    >>> X, y = load_iris(return_X_y=True)
    >>> learner = ProtoNetClassifier(max_epochs=1, validation_fraction=0.0, random_state=0)
    >>> pipe = make_pipeline(StandardScaler(), learner).fit(X[:100], y[:100])
    >>> clf = adapt(pipe, X[[0, 50, 100]], ["setosa", "versicolor", "virginica"])
    >>> clf.predict(X[[10]])
    array(['setosa'], dtype='<U10')
    """
    path, classifier = adapt_end(
        estimator,
        X_support,
        y_support,
        include_base=include_base,
        unlabelled=unlabelled,
        refinement=refinement,
    )
    return path.rebuild(classifier)


def adapt_end(
    estimator: Estimator,
    X_support: ArrayLike,
    y_support: ArrayLike,
    *,
    include_base: bool = False,
    unlabelled: Label | None = None,
    refinement: Refinement = DEFAULT,
) -> tuple[Path, FewShotClassifier | FewShotRegressor]:
    """Return the path through an estimator, and what a support set makes of its end.

    Parameters and errors as in :func:`adapt`.
    """
    options: dict[str, Any] = {"include_base": True} if include_base else {}
    if unlabelled is not None:
        options["unlabelled"] = unlabelled
    if refinement != DEFAULT:
        options["refinement"] = refinement
    path = walk(estimator)
    check_is_no_search(path.end)
    support = path.transform(X_support)
    if isinstance(path.end, FewShotClassifier | FewShotRegressor):
        check_is_fitted(path.end)
        _check_no_options(options, "an adapted estimator")
        return path, path.end._readapt(support, y_support)
    check_learner(path.end, "The estimator that is adapted, or its last step,")
    if isinstance(path.end._network, RegressionNetwork):
        _check_no_options(options, "a regressor")
    return path, path.end.adapt(support, y_support, **options)


def _check_no_options(options: dict[str, Any], what: str) -> None:
    for name, value in options.items():
        raise TypeError(
            f"{name}={value!r} takes a learner of classes, or a pipeline or search that ends in "
            f"one. Got {what}. Pass the learner that was fitted on the base classes."
        )
