"""Model cards: what a trained estimator is, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from ..adapted import FewShotClassifier, FewShotRegressor, walk
from ..utils._validation import label_text
from ._archive import versions

FRONT = """\
---
library_name: sklearn_fewshot
tags:
- few-shot-learning
- meta-learning
- sklearn
---
"""
FEW_CLASSES = 10  # with fewer held-out ones calibration is rough
USE = """\
```python
from sklearn_fewshot import adapt, load_model

model = load_model("model.skops")
classifier = adapt(model, X_support, y_support)  # a few examples of each new class
classifier.predict(X)
```
"""
USE_ATTRIBUTES = """\
```python
from sklearn_fewshot import load_model

model = load_model("model.skops")
classifier = model.adapt(class_attributes=attributes)  # a description of each new class
classifier.predict(X)
```
"""
USE_ADAPTED = """\
```python
from sklearn_fewshot import load_model

load_model("model.skops").predict(X)
```
"""


def model_card(estimator: Any, results: Mapping[str, Any] | None = None) -> str:
    """Describe a trained estimator for those who get its file, as Markdown.

    Says what the estimator knows of itself: its input, what it was trained on and for how long,
    what its probabilities and thresholds rest on, and what follows from that. Add what it is for,
    whose data they are, and what it must not be used for.

    Parameters
    ----------
    estimator : fitted estimator
        A learner, a :class:`FewShotClassifier` or :class:`FewShotRegressor`, or a pipeline that
        ends in one.
    results : mapping of str to result, or None, default=None
        Scores by name, such as results of :func:`~sklearn_fewshot.model_selection.episodic_score`
        of the estimator and of baselines; the text of each becomes a row of a table.

    Returns
    -------
    card : str
        Markdown that begins with the metadata which model hubs read: a ``README.md``.

    Raises
    ------
    TypeError
        If the estimator is none of these.
    NotFittedError
        If it is not fitted.

    See Also
    --------
    save_model : The file that the card describes.

    Examples
    --------
    >>> from sklearn_fewshot import load_pretrained, model_card
    >>> card = model_card(load_pretrained("glyphs"))
    >>> next(line for line in card.splitlines() if line.startswith("On "))[:55]
    "On 1,147 classes: 'A', 'B', 'C', 'D', 'E' and 1142 more"
    """
    from skops.card import Card  # not above: it imports all of scikit-learn

    path = walk(estimator)
    end = path.end
    check_is_fitted(end)
    is_adapted = isinstance(end, FewShotClassifier | FewShotRegressor)
    learner = walk(end.learner).end if is_adapted and end.learner is not None else end
    if not (is_adapted or hasattr(learner, "module_")):
        raise TypeError(
            "model_card describes learners of sklearn_fewshot, what they adapt to, and pipelines "
            f"that end in one. Got {type(end).__name__}."
        )
    title = type(end).__name__
    sections = {title: _overview(path.transformers, end, learner)}
    if hasattr(learner, "module_"):
        sections["Meta-training"] = _training(learner)
        sections["Calibration"] = _calibration(learner)
    sections |= {"Limits": _limits(learner), "Use": _use(end)}
    sections["Versions"] = ", ".join(f"{name} {number}" for name, number in versions().items())
    card = Card(model=None, template=None)
    for name, text in sections.items():
        card.add(**{name if name == title else f"{title}/{name}": text})
    if results:
        rows = {"of": list(results), "score": [str(result) for result in results.values()]}
        card.add_table(**{f"{title}/Evaluation": rows})
    return f"{FRONT}\n{card.render().strip()}\n"


def _overview(transformers: list[Any], end: Any, learner: Any) -> str:
    """Say what goes in, and what it knows."""
    shape = " x ".join(map(str, end.input_shape_))
    sentences = [f"Samples have the shape {shape}."]
    if getattr(learner, "input_scale_", 1.0) != 1.0:
        sentences.append("They are 8-bit images.")
    if hasattr(end, "feature_names_in_"):
        sentences.append(f"Columns: {label_text(end.feature_names_in_)}.")
    if transformers:
        names = ", ".join(type(getattr(it, "estimator", it)).__name__ for it in transformers)
        sentences.append(f"Before the network they pass through {names}.")
    if isinstance(end, FewShotClassifier):
        counts = end.class_count_
        of = f"{_number(len(counts), 'class', 'classes')}: {label_text(end.classes_)}"
        sentences.append(f"It knows {of}, from {_range(counts)} examples each.")
    if learner is not end:
        sentences.append(f"It was adapted from a {type(learner).__name__}.")
    return " ".join(sentences) + f"\n\n```\n{clone(learner)!r}\n```"


def _training(learner: Any) -> str:
    labels = getattr(learner, "classes_", getattr(learner, "tasks_", ()))
    kind = ("class", "classes") if hasattr(learner, "classes_") else ("task", "tasks")
    text = f"On {_number(len(labels), *kind)}: {label_text(labels)}; held-out ones are among them."
    history, epoch = getattr(learner, "history_", ()), getattr(learner, "best_epoch_", 0)
    if not history:
        return text
    text += f" Epoch {epoch} of {len(history)} was kept"
    row = history[epoch - 1] if epoch else {}
    if "valid_acc" in row:
        text += f", with {100 * row['valid_acc']:.1f} % right on held-out {kind[1]}"
    return f"{text}."


def _calibration(learner: Any) -> str:
    tasks = hasattr(learner, "n_calibration_tasks_")
    n_held_out = getattr(learner, "n_calibration_tasks_" if tasks else "n_calibration_classes_", 0)
    what = "Standard deviations" if tasks else "Probabilities and rejection thresholds"
    if not n_held_out:
        return f"{what} are not calibrated."
    names = ("held-out task", "held-out tasks") if tasks else ("held-out class", "held-out classes")
    return f"{what} rest on {_number(n_held_out, *names)}."


def _limits(learner: Any) -> str:
    """Say what follows from the training for those who use it."""
    found = ["- Classes of another kind than those of the training are recognised less well."]
    n_held_out = getattr(learner, "n_calibration_classes_", None)
    if n_held_out is not None and n_held_out < FEW_CLASSES:
        found.append("- Probabilities and rejection are rough: few classes were held out.")
    if getattr(learner, "best_epoch_", None) == 0:
        found.append("- Training gained nothing over the linear method that it started from.")
    if hasattr(learner, "classes_") and len(learner.classes_) < FEW_CLASSES:
        found.append("- It was trained on few classes: compare it with a simple method.")
    return "\n".join(found)


def _use(end: Any) -> str:
    if isinstance(end, FewShotClassifier | FewShotRegressor):
        return USE_ADAPTED
    return USE if end._network.takes_examples else USE_ATTRIBUTES


def _number(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _range(counts: np.ndarray) -> str:
    low, high = counts.min(), counts.max()
    return str(low) if low == high else f"{low} to {high}"
