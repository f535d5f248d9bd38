"""The learner that trains several, and pools them by how they recognise held-out classes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Real
from typing import Any, Literal, Unpack

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from scipy.special import stdtrit

from ..calibration import EncodedData, calibrate
from ..episodes import thinned
from ..network import FittedNetwork
from ..nn import EmbeddingModule, resolve_device
from ..nn.heads import Head, PrototypicalHead
from ..training._calibrated import carry_over_refit
from ..training._checkpoint import Checkpoint
from ..training._config import TrainingConfig
from ..training._data import TrainingData
from ..training._encoded import represent
from ..training._meta_train import Trained, Watch
from ..training._net import TrainingDiverged
from ..training._pool import (
    Candidate,
    Member,
    Pool,
    Scores,
    choose_pool,
    members_of,
    plan_comparison,
    pooled_accuracies,
    pooled_network,
    score_members,
    share_embedding,
    train_candidate,
)
from ..training._sklearn_callbacks import FitTask, with_callbacks
from ..utils._fresh import unfitted_copy
from ..utils._sklearn import Interval, StrOptions
from ..utils._typing import ArrayLike
from ..utils._warnings import warn_user
from ._docs import with_common_parameters
from ._few_shot import BaseFewShotLearner
from ._parameters import CommonParameters, LearnerParameters
from .metric import (
    BaselineClassifier,
    MatchingNetClassifier,
    ProtoNetClassifier,
    RelationNetClassifier,
)

MAX_ROWS = 20_000  # of the base classes, that represent them


def _untrained(common: dict[str, Any], **options: Any) -> BaseFewShotLearner:
    return ProtoNetClassifier(**common | {"max_epochs": 0, "callbacks": None} | options)


# Learners by name, made with the parameters that all learners share.
NAMED: dict[str, Callable[[dict[str, Any]], BaseFewShotLearner]] = {
    "raw": partial(_untrained, backbone="identity"),
    "linear": _untrained,
    "ProtoNet": lambda common: ProtoNetClassifier(**common),
    "MatchingNet": lambda common: MatchingNetClassifier(**common),
    "RelationNet": lambda common: RelationNetClassifier(**common),
    "Baseline": lambda common: BaselineClassifier(**common),
}
OF_VECTORS = ["raw", "linear", "ProtoNet", "MatchingNet", "RelationNet"]
OF_IMAGES = ["ProtoNet", "Baseline"]


def _name_of(item: Any) -> str:
    """Return the name of an item of ``estimators``, or raise with what it must be."""
    if isinstance(item, str) and item in NAMED:
        return item
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
        name, learner = item
        if isinstance(learner, BaseFewShotLearner) and not isinstance(
            learner, AutoFewShotClassifier
        ):
            return name
    raise TypeError(
        "The 'estimators' parameter of AutoFewShotClassifier must be \"auto\" or a list of names "
        f"({', '.join(NAMED)}) and of (name, learner), where learners are those of this package "
        f"that learn from examples, such as ProtoNetClassifier(). Got {item!r} in it."
    )


@with_common_parameters(validation_fraction=0.25)
class AutoFewShotClassifier(BaseFewShotLearner):
    r"""Several learners in one, weighted by how they recognise held-out classes.

    ``fit`` trains each of them without the held-out classes, compares them on episodes of these
    for several numbers of examples per class, and trains them again on all classes. New classes are
    recognised by a weighted mean of their log-probabilities, with weights for the number of
    examples at hand: what is best for one example is not for twenty. It is what to take first, and
    if you do not want to choose.

    Parameters
    ----------
    estimators : "auto" or list of names and (name, learner), default="auto"
        The learners to train. By name, with the parameters of this learner: "ProtoNet",
        "MatchingNet", "RelationNet", "Baseline"; without training "linear", the best linear method
        of the base classes, and "raw", class means of the samples themselves. "auto" takes
        "ProtoNet" and "Baseline" for images, and all but "Baseline" for vectors and series.
        Learners that are given as such keep their own parameters but for held-out classes,
        ``refit``, ``device``, ``random_state`` and what else concerns the fit as a whole. What
        compares with class means takes part a second time, with an anchored readout.
    max_seconds : float or None, default=None
        Time for ``fit``, about. Each learner may train for an equal part of what is left of it;
        those whose turn would come after it are left out, with a warning. What is learned then
        depends on the speed of the machine.
    n_jobs : int or None, default=None
        Learners that are trained at the same time, in processes of their own.
        -1 means all processors; None means 1 unless in a :obj:`joblib.parallel_config` context.
    {common_parameters}

    Attributes
    ----------
    leaderboard_ : DataFrame
        One row for each learner and number of examples per class, the best first, and for the pool:
        mean accuracy in episodes of held-out classes, half the width of its 95 % interval (over
        episodes), weight in the pool, and seconds of training. Without held-out classes, accuracies
        are of classes that were trained on. Needs pandas.
    {common_attributes}

    See Also
    --------
    ProtoNetClassifier : The learner to take if time or memory for several is short.

    Notes
    -----
    With the probabilities ``P_m`` of learner ``m`` for ``K`` examples per class, at its temperature
    of least log-loss on held-out classes, the pool is

    .. math::

        P(k \mid q) \propto \prod_m P_m(k \mid q)^{w_m(K)}

    a logarithmic opinion pool. The weights :math:`w_m(K) \ge 0` have the least log-loss on held-out
    classes, with a small ridge towards equal weights, and are interpolated in :math:`\log K`.
    Learners whose weight is small for every ``K`` are left out, and with a warning those whose
    training diverges. ``history_`` lists the epochs of all learners, each with its name;
    ``best_epoch_`` and ``net_`` are those of the learner with the largest weight.

    References
    ----------
    C. Genest and J. V. Zidek, "Combining Probability Distributions: A Critique and an Annotated
    Bibliography", Statistical Science, 1986.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_fewshot import AutoFewShotClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> base, new = y < 7, y >= 7
    >>> learner = AutoFewShotClassifier(max_epochs=2, random_state=0).fit(X[base], y[base])
    >>> X_new, y_new = X[new], y[new]
    >>> classifier = learner.adapt(X_new[:15], y_new[:15])
    >>> bool(classifier.score(X_new[15:], y_new[15:]) > 0.8)
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "estimators": [StrOptions({"auto"}), list],
        "max_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "n_jobs": [None, int],
    }

    def __init__(
        self,
        *,
        estimators: Literal["auto"] | list[str | tuple[str, BaseFewShotLearner]] = "auto",
        max_seconds: float | None = None,
        n_jobs: int | None = None,
        **common: Unpack[CommonParameters],
    ) -> None:
        self.estimators = estimators
        self.max_seconds = max_seconds
        self.n_jobs = n_jobs
        super().__init__(**common)

    # ------------------------------------------------------------------ what is trained

    def _head(self) -> tuple[type[Head], dict[str, Any]]:
        return PrototypicalHead, {}  # of the config that the candidates share

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.warm_start:
            raise ValueError(
                "AutoFewShotClassifier has warm_start=True, but trains several learners and keeps "
                "the best: there is no one network to continue from. Set warm_start=False, or "
                "continue with the learner that leaderboard_ names first."
            )
        if self.checkpoint is not None and effective_n_jobs(self.n_jobs) > 1:
            raise ValueError(
                f"AutoFewShotClassifier has checkpoint={self.checkpoint!r} and n_jobs="
                f"{self.n_jobs}: what other processes train is not checkpointed. Leave one of them "
                "out."
            )
        if isinstance(self.estimators, str):
            return
        names = [_name_of(item) for item in self.estimators]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                "The 'estimators' parameter of AutoFewShotClassifier must hold at least one "
                f"learner, each with a name of its own. Got the names {names}."
            )

    def _estimators(self, input_shape: tuple[int, ...]) -> list[tuple[str, BaseFewShotLearner]]:
        """Return the learners to train, the quick ones first."""
        defaults = LearnerParameters().get_params()
        given = {name: getattr(self, name) for name in defaults}
        # Of the others each learner has its own default.
        common = {name: it for name, it in given.items() if not _is_equal(it, defaults[name])}
        chosen: Sequence[str | tuple[str, BaseFewShotLearner]]
        if not isinstance(self.estimators, str):
            chosen = self.estimators
        elif len(input_shape) == 3:
            chosen = OF_IMAGES
        else:
            # Samples behind a frozen backbone are not compared raw.
            chosen = [name for name in OF_VECTORS if name != "raw" or not self.freeze_backbone]
        return [(item, NAMED[item](common)) if isinstance(item, str) else item for item in chosen]

    def _candidates(
        self, shared: TrainingConfig, data: TrainingData, rng: np.random.Generator
    ) -> list[Candidate]:
        """Return the learners' configs."""
        found = []
        for name, learner in self._estimators(data.X.shape[1:]):
            fresh = unfitted_copy(learner)
            fresh.device, fresh.verbose = self.device, self.verbose
            fresh.predict_batch_size = self.predict_batch_size
            fresh.input_shape_, fresh.input_scale_ = self.input_shape_, self.input_scale_
            fresh._validate_params()
            fresh._check_parameters()
            config = fresh._config(data).replace(refit=shared.refit, calibrate=False)
            if not issubclass(config.recipe.module, EmbeddingModule):
                raise TypeError(
                    f"The learner {name!r} of AutoFewShotClassifier does not embed samples. Take "
                    "learners that do."
                )
            if not getattr(config.recipe.options.get("head"), "compares_base", True):
                raise TypeError(
                    f"The learner {name!r} of AutoFewShotClassifier reads a support set as a "
                    "whole: base classes are too many for it. Take learners that compare."
                )
            found.append(Candidate(name, config, int(rng.integers(2**31))))
        return found

    @with_callbacks
    def _train(
        self,
        config: TrainingConfig,
        data: TrainingData,
        rng: np.random.Generator,
        start: FittedNetwork | None,
        X: ArrayLike,
        y: ArrayLike,
        checkpoint: Checkpoint | None,
    ) -> None:
        """Train the learners, pool them, and set the fitted attributes."""
        candidates = share_embedding(self._candidates(config, data, rng), data)
        task = FitTask.of_fit(self, X, y, max_subtasks=len(candidates))
        watch = Watch(task, self._describe, checkpoint)
        done = self._train_all(candidates, data, watch)
        config = config.replace(embedded=candidates[0].config.embedded)
        self.__dict__.update(self._pool(config, data, rng, done))
        task.knowing(dict).end()

    def _train_all(
        self, candidates: list[Candidate], data: TrainingData, watch: Watch
    ) -> dict[str, tuple[Trained, float]]:
        """Train the learners, one after the other or in several processes."""
        n_jobs = effective_n_jobs(self.n_jobs)
        share = 0.5 if candidates[0].config.refit else 1.0  # the second training takes as long
        if n_jobs > 1:
            seconds = None
            if self.max_seconds is not None:
                seconds = share * self.max_seconds * n_jobs / len(candidates)
            trained = Parallel(n_jobs=n_jobs)(
                delayed(_train_elsewhere)(candidate, data, seconds) for candidate in candidates
            )
            names = [candidate.name for candidate in candidates]
            return _without_diverged(dict(zip(names, trained, strict=True)))
        done: dict[str, tuple[Trained, float] | TrainingDiverged] = {}
        began = time.perf_counter()
        for number, candidate in enumerate(candidates):
            seconds = None
            if self.max_seconds is not None:
                left = self.max_seconds - (time.perf_counter() - began)
                if left <= 0 and done:
                    late = [it.name for it in candidates[number:]]
                    warn_user(
                        f"AutoFewShotClassifier has used up max_seconds={self.max_seconds}: it "
                        f"trains without {', '.join(late)}. Raise max_seconds for them."
                    )
                    break
                seconds = share * max(left, 0.0) / (len(candidates) - number)
            own = watch.of_learner(candidate.name)
            done[candidate.name] = _attempt(candidate, data, own, seconds)
            own.task.end()
        return _without_diverged(done)

    # ------------------------------------------------------------------ what they become

    def _pool(
        self,
        config: TrainingConfig,
        data: TrainingData,
        rng: np.random.Generator,
        done: Mapping[str, tuple[Trained, float]],
    ) -> dict[str, Any]:
        """Return the fitted attributes."""
        trained = [one for one, _ in done.values()]
        members = [
            member
            for owner, name in enumerate(done)
            for member in members_of(name, owner, trained[owner])
        ]
        plans = plan_comparison(data, rng)
        device = resolve_device(config.device)
        scores = score_members(members, data, config, device, plans)
        pool = choose_pool(scores, fit=bool(data.validation.any()))
        first, network = (
            pooled_network(members, pool, trained, config, first=which) for which in (True, False)
        )
        if config.calibrate:
            encoded = EncodedData(first.encode(data.X), data.codes, data.groups, data.class_tasks)
            first.calibration = calibrate(first, encoded, data.held_out, config.verbose)
            network.calibration = carry_over_refit(first, network, data)
        kept = thinned(np.arange(len(data.codes)), data.codes, MAX_ROWS)
        few = data._replace(X=data.X[kept], codes=data.codes[kept])
        heaviest = trained[members[int(pool.share.sum(axis=1).argmax())].owner]
        history = [
            {"learner": name} | row for name, (one, _) in done.items() for row in one.history
        ]
        pooled = heaviest._replace(
            network=network,
            representation=represent(network, network.encode(few.X), few),
            history=history,
        )
        seconds = [spent for _, spent in done.values()]
        rows = _leaderboard_rows(members, scores, pool, seconds)
        return self._fitted_attributes(pooled) | {"_leaderboard": rows}

    @property
    def leaderboard_(self) -> Any:
        """How each learner recognised held-out classes, and its weight: a DataFrame."""
        if not hasattr(self, "_leaderboard"):
            raise AttributeError(f"{type(self).__name__} has no leaderboard_ before fit.")
        try:
            import pandas as pd
        except ImportError as error:  # an AttributeError: others look whether it is there
            raise AttributeError("leaderboard_ needs pandas, which is not installed.") from error
        frame = pd.DataFrame(self._leaderboard)
        return frame.sort_values(["n_shot", "accuracy"], ascending=[True, False], ignore_index=True)


def _is_equal(value: Any, default: Any) -> bool:
    """Whether a parameter is at its default, which is a number, a string, None or a pair."""
    return type(value) is type(default) and bool(np.array_equal(value, default))


def _leaderboard_rows(
    members: Sequence[Member],
    scores: Sequence[dict[int, Scores]],
    pool: Pool,
    seconds: Sequence[float],
) -> list[dict[str, Any]]:
    """Return a row for each member and number of examples, and for the pool."""
    rows = [
        {"learner": member.name, "n_shot": n_shot, **_summary(by_shot[n_shot].accuracies())}
        | {"weight": float(pool.share[number, place]), "seconds": seconds[member.owner]}
        for number, (member, by_shot) in enumerate(zip(members, scores, strict=True))
        for place, n_shot in enumerate(by_shot)
    ]
    of_pool = [
        {"learner": "pool", "n_shot": n_shot, **_summary(pooled_accuracies(scores, pool, n_shot))}
        | {"weight": 1.0, "seconds": sum(seconds)}
        for n_shot in scores[0]
    ]
    return rows + of_pool


def _attempt(
    candidate: Candidate, data: TrainingData, watch: Watch, max_seconds: float | None
) -> tuple[Trained, float] | TrainingDiverged:
    """Train; a training that diverges costs the others nothing."""
    try:
        return train_candidate(candidate, data, watch, max_seconds)
    except TrainingDiverged as error:
        return error


def _train_elsewhere(
    candidate: Candidate, data: TrainingData, max_seconds: float | None
) -> tuple[Trained, float] | TrainingDiverged:
    """Train in another process: without what cannot come back."""
    result = _attempt(candidate, data, Watch(), max_seconds)
    if isinstance(result, TrainingDiverged):
        return result
    trained, seconds = result
    return trained._replace(net=None), seconds


def _without_diverged(
    done: Mapping[str, tuple[Trained, float] | TrainingDiverged],
) -> dict[str, tuple[Trained, float]]:
    """Return what was trained, with a warning of what was not; raise if that is nothing."""
    trained, error = {}, None
    for name, result in done.items():
        if isinstance(result, TrainingDiverged):
            error = result
            warn_user(f"AutoFewShotClassifier leaves {name} out. {result}")
        else:
            trained[name] = result
    if error is not None and not trained:
        raise error
    return trained


def _summary(accuracies: np.ndarray) -> dict[str, float]:
    """Return mean and half the width of the 95 % t-interval over episodes."""
    n_episodes = len(accuracies)
    error = accuracies.std(ddof=1) / np.sqrt(n_episodes)
    return {
        "accuracy": float(accuracies.mean()),
        "half_width": float(stdtrit(n_episodes - 1, 0.975) * error),
    }
