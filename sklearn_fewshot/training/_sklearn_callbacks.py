"""The callbacks of scikit-learn (``sklearn.callback``, new and experimental in 1.9), where present.

Older versions have none: then learners have no ``set_callbacks``, and nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])

# What an estimator holds while its fit is followed; copies made meanwhile do without.
DURING_FIT = ("_callback_fit_ctx", "_skl_callbacks_to_teardown", "_parent_callback_ctx")

try:
    import sklearn.callback as sklearn_callback
except ImportError:  # scikit-learn before 1.9

    class CallbackSupport:
        """Base of the learners; empty, as this scikit-learn has no callbacks."""

    def with_callbacks(method: Method) -> Method:
        """Return the method unchanged."""
        return method

else:

    class CallbackSupport(sklearn_callback.CallbackSupportMixin):  # type: ignore[no-redef]
        """Base of the learners, for callbacks of scikit-learn."""

        def set_callbacks(self, *callbacks: Any) -> Any:
            """Set callbacks of scikit-learn, which follow ``fit``.

            They are called for ``fit`` as a whole, for its parts "train" and (if there is one)
            "refit", and for the epochs of each. They are not the ``callbacks`` of the constructor,
            which are skorch's and see every batch. scikit-learn calls its callbacks experimental:
            they may change.

            Parameters
            ----------
            *callbacks : callbacks of :mod:`sklearn.callback`
                They replace those set before; without any, none are left.

            Returns
            -------
            self : object

            Notes
            -----
            A callback that requests the fitted estimator, as
            :class:`~sklearn.callback.ScoringMonitor` does, gets a learner with the weights of that
            epoch, whether or not they are the best so far. Making it embeds the training data once,
            and so does scoring it on them.

            ``X`` and ``y`` are what ``fit`` got: of scores on these, those of an
            :class:`~sklearn_fewshot.model_selection.EpisodicScorer` too, none says how good the
            learner is on new classes. A function that has samples of new classes can.

            A callback that returns True at the end of an epoch ends the training; at the end of
            "train" it prevents the refit.

            Examples
            --------
            >>> from sklearn.callback import ScoringMonitor
            >>> from sklearn.datasets import load_digits
            >>> from sklearn_fewshot import ProtoNetClassifier
            >>> from sklearn_fewshot.model_selection import episodic_score
            >>> X, y = load_digits(return_X_y=True)
            >>> is_new = y >= 5
            >>> def on_new_classes(learner, X_base, y_base):
            ...     return episodic_score(learner, X[is_new], y[is_new], n_episodes=20).mean
            >>> monitor = ScoringMonitor(scoring={"new": on_new_classes})
            >>> learner = ProtoNetClassifier(max_epochs=2, refit=False, random_state=0)
            >>> learner = learner.set_callbacks(monitor).fit(X[~is_new], y[~is_new])
            >>> for row in monitor.get_logs().data:
            ...     print(row["task_name"], row["task_id_path"], row["new"] > 0.5)
            fit (0,) True
            epoch (0, 0, 0) True
            epoch (0, 0, 1) True
            """
            return super().set_callbacks(*callbacks)

    def with_callbacks(method: Method) -> Method:
        """Return the method, with callbacks set up before and torn down after."""
        return sklearn_callback.with_callbacks(method)


class FitTask(NamedTuple):
    """A part of ``fit`` that callbacks follow: all of it, a training, or an epoch.

    Without callbacks it is empty and does nothing.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext or None
        The place in the tree of tasks; None without callbacks.
    estimator : estimator or None
        The estimator whose ``fit`` it is.
    X, y : array-like or None
        As ``fit`` got them: callbacks score on them.
    fitted : callable or None
        Called with what ``begin`` or ``end`` got, if a callback requests the estimator in its state
        at that moment. Returns its attributes.
    """

    context: Any = None
    estimator: Any = None
    X: Any = None
    y: Any = None
    fitted: Callable[..., dict[str, Any]] | None = None

    @classmethod
    def of_fit(cls, estimator: Any, X: Any, y: Any, max_subtasks: int) -> FitTask:
        """Begin the task that is all of ``fit``; the method must be one ``with_callbacks``."""
        if not getattr(estimator, "_skl_callbacks", None):
            return cls()
        context = estimator._init_callback_context(max_subtasks=max_subtasks)
        return cls(context, estimator, X, y)._notify_begin()

    def knowing(self, fitted: Callable[..., dict[str, Any]]) -> FitTask:
        """Return this task, with a function that returns the estimator's attributes."""
        return self._replace(fitted=fitted)

    def begin(self, name: str, *state: Any, max_subtasks: int = 0) -> FitTask:
        """Begin the next task within this one."""
        if self.context is None:
            return self
        context = self.context.subcontext(task_name=name, max_subtasks=max_subtasks)
        return self._replace(context=context)._notify_begin(*state)

    def end(self, *state: Any) -> bool:
        """End this task; returns whether a callback wants no more of its kind."""
        if self.context is None:
            return False
        return self.context.call_on_fit_task_end(**self._arguments(state))

    def _notify_begin(self, *state: Any) -> FitTask:
        self.context.call_on_fit_task_begin(**self._arguments(state))
        return self

    def _arguments(self, state: tuple[Any, ...]) -> dict[str, Any]:
        reconstruct = None if self.fitted is None else partial(self.fitted, *state)
        return {
            "estimator": self.estimator,
            "X": self.X,
            "y": self.y,
            "reconstruction_attributes": reconstruct,
        }
