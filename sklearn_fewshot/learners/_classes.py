"""The part of learners that is about classes: which are held out, and the classifier of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..adapted import FewShotClassifier
from ..network import FittedNetwork
from ..nn.backbones import auto_backbone
from ..training._config import TrainingConfig
from ..training._data import TrainingData, divide_by_tasks, given_validation, hold_out
from ..training._meta_train import Trained
from ..utils._typing import ArrayLike
from ..utils._validation import check_aligned, check_labels, encode_labels, label_text
from ..utils._warnings import warn_user
from ._base import ANY_LAYOUT, BaseMetaLearner
from ._limits import warn_of_unusable
from ._parameters import LearnerParameters

# What "auto" stands for, as measured on validation classes (docs/guide/choosing.md).
LR_OF_IMAGES, LR = 3e-3, 1e-3
SHOTS = (1, 5)  # of images one


class KeptClassifier:
    """The classifier of a learner's base classes: made when it is first used, and kept.

    Copies and pickles of the learner make their own.
    """

    def __init__(self) -> None:
        self._made: Any = None

    def get(self, make: Callable[[], Any]) -> Any:
        """Return the classifier."""
        if self._made is None:
            self._made = make()
        return self._made

    def __deepcopy__(self, memo: dict[int, Any]) -> KeptClassifier:
        return KeptClassifier()


class LearnsClasses(BaseMetaLearner, LearnerParameters):
    """Trains on episodes of classes."""

    def _ways(self) -> Any:
        return self.n_way

    def _shots(self) -> Any:
        if self.n_shot != "auto":
            return self.n_shot
        return 1 if self._trains_on_images() else SHOTS

    def _learning_rate(self) -> float:
        if self.lr != "auto":
            return self.lr
        return LR_OF_IMAGES if self._trains_on_images() else LR

    def _trains_on_images(self) -> bool:
        """Whether a network of ours learns from images, beginning with random weights."""
        shape, backbone = self.input_shape_, self._backbone()
        name = auto_backbone(shape) if backbone == "auto" else backbone
        is_ours = isinstance(name, str) and name not in ANY_LAYOUT
        return is_ours and not self.freeze_backbone and len(shape) == 3

    def _rotates(self) -> bool:
        return self.rotate_support

    def _named_validation(self) -> ArrayLike | None:
        return self.validation_classes

    def _check_data(
        self,
        X: ArrayLike,
        y: ArrayLike,
        seed: int,
        *,
        groups: ArrayLike | None = None,
        class_groups: ArrayLike | None = None,
        tasks: ArrayLike | None = None,
        **options: Any,
    ) -> TrainingData:
        """Validate everything that ``fit`` takes and hold out the validation classes."""
        owner = type(self).__name__
        X = self._check_samples(X)
        classes, codes = encode_labels(check_labels(X, y))
        if len(classes) < 2:
            raise ValueError(
                f"{owner} needs at least two classes to draw episodes from. Got {len(classes)} "
                f"class: {label_text(classes)}."
            )
        self.classes_ = classes
        groups = check_aligned("groups", groups, len(X))
        class_groups = check_aligned("class_groups", class_groups, len(X))
        codes, classes, class_tasks = divide_by_tasks(codes, classes, groups, tasks, owner)
        fraction = self.validation_fraction if self.validation_classes is None else 0.0
        validation = hold_out(
            codes,
            classes,
            groups,
            class_groups,
            fraction=fraction,
            seed=seed,
            class_tasks=class_tasks,
        )
        if self.validation_classes is not None:
            wanted = self.validation_classes
            validation = given_validation(codes, classes, groups, wanted, owner, class_tasks)
        return TrainingData(X, codes, classes, groups, validation, class_tasks=class_tasks)

    def _warn_of_few(self, config: TrainingConfig, data: TrainingData) -> None:
        name = type(self).__name__
        warn_of_unusable(name, data, self.max_epochs)
        # Not of classes that are small only because of rows that are reserved.
        n_clamped = config.sampler(data._replace(reserved=None), data.training).n_clamped_
        if n_clamped:
            warn_user(
                f"{n_clamped} of the {int(data.training.sum())} training classes of {name} "
                f"have too few examples for n_shot={config.n_shot} and n_query={config.n_query}: "
                "they take part with fewer, or, with a single example, not at all. Lower n_shot or "
                "n_query, add examples, or drop these classes."
            )
        if not data.validation.any() and self._wants_validation():
            warn_user(
                f"{name} has no validation classes ({len(data.classes)} classes in all, "
                f"validation_fraction={self.validation_fraction}): it trains for max_epochs="
                f"{self.max_epochs} and keeps the last weights. Add {_of_use(data)}, or set "
                "validation_fraction=0."
            )

    def _wants_validation(self) -> bool:
        return self.validation_fraction > 0

    def _fitted_attributes(self, trained: Trained) -> dict[str, Any]:
        return super()._fitted_attributes(trained) | {
            "representation_": trained.representation,
            "n_way_": trained.n_way,
            "n_calibration_classes_": n_held_out_of(trained.network),
            "_kept_classifier": KeptClassifier(),
        }

    def _base_classifier(self) -> FewShotClassifier:
        """Return the classifier of the base classes."""
        return self._kept_classifier.get(
            lambda: FewShotClassifier._of_items(self, self.representation_, self.classes_)
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what only the training process needs, and the kept classifier."""
        state = super().__getstate__()
        state.pop("_kept_classifier", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the learner."""
        super().__setstate__(state)
        self._kept_classifier = KeptClassifier()


def _of_use(data: TrainingData) -> str:
    """Name what could be held out if there were more of it."""
    classes = "classes of at least two examples"
    return classes if data.class_tasks is None else f"tasks with two {classes}"


def n_held_out_of(network: FittedNetwork) -> int:
    """Return how many held-out classes the calibration of a network rests on."""
    return 0 if network.calibration is None else network.calibration.n_held_out
