"""
300 old classes, ten new a week
===============================

Letters stand for whatever you tell apart: products, intents, parts. Of 300 you have plenty of
pictures. Every Monday ten more come, with three pictures each, and from then on all are to be
recognised together. Now and then something comes that is of no class at all, and some new examples
have not been labelled yet.

Training happens once. Everything after it takes milliseconds.
"""

import time

import matplotlib.pyplot as plt
import numpy as np

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.datasets import make_glyphs
from sklearn_fewshot.inspection import RejectionDisplay, ReliabilityDisplay
from sklearn_fewshot.model_selection import generalized_accuracy

started = time.perf_counter()

# %%
# The data: 300 old letters with 16 pictures each to train on and four more to ask, forty Georgian
# letters that come later, and Armenian ones that belong to nothing.

data = make_glyphs(size=20, random_state=0)
X, y, script = data.images, data.target, data.script
rng = np.random.default_rng(0)
others = np.unique(y[np.isin(script, ["Latin", "Greek", "Cyrillic"])])
old = np.isin(y, rng.choice(others, 300, replace=False))
to_ask = np.arange(len(y)) % 20 >= 16  # the pictures of a letter stand together
X_old, y_old = X[old & to_ask], y[old & to_ask]
X_none = X[script == "Armenian"]
georgian = np.unique(y[script == "Georgian"])
mondays = [georgian[10 * week : 10 * week + 10] for week in range(4)]

print("Meta-training on 300 letters:")
learner = ProtoNetClassifier(n_way=30, max_epochs=8, random_state=0, verbose=1)
learner.fit(X[old & ~to_ask], y[old & ~to_ask])

# %%
# Mondays: the first makes a classifier of old and new letters, the others add to it. A class of
# three examples loses to one of sixteen unless it is lifted; by how much, training has learned on
# letters that it held out. The same network without that is beside it.

as_trained = ProtoNetClassifier(**learner.get_params() | {"calibrate": False, "verbose": 0})
as_trained.fit(X[old & ~to_ask], y[old & ~to_ask])


def pictures_of(letters, start, stop):
    """Return some of the twenty pictures of each letter."""
    rows = [np.flatnonzero(y == letter)[start:stop] for letter in letters]
    return X[np.concatenate(rows)], y[np.concatenate(rows)]


def after_each_monday(learner):
    """Let the new letters come in; return the classifier and its accuracies by week."""
    classifier, weeks = None, []
    for week, letters in enumerate(mondays):
        X_new, y_new = pictures_of(letters, 0, 3)
        if classifier is None:
            classifier = learner.adapt(X_new, y_new, include_base=True)
        else:
            classifier.partial_fit(X_new, y_new)
        X_asked, y_asked = pictures_of(np.concatenate(mondays[: week + 1]), 10, 20)
        y_true = np.concatenate([y_old, y_asked])
        y_said = classifier.predict(np.concatenate([X_old, X_asked]))
        weeks.append(generalized_accuracy(y_true, y_said, learner.classes_))
    return classifier, 100 * np.array(weeks)


classifier, lifted = after_each_monday(learner)
_, plain = after_each_monday(as_trained)
for name, weeks in (("as trained", plain), ("lifted", lifted)):
    base, new, harmonic = weeks[-1]
    print(f"After four Mondays, {name}: old {base:.1f} %, new {new:.1f} %, mean {harmonic:.1f} %")
print(f"{len(classifier.classes_)} classes now.\n")

# %%
# One goes: forget it.

classifier.drop_classes(georgian[:1])

# %%
# None of these: in twenty new letters of three examples each, some of what is asked is Armenian.
# ``predict`` may refuse one in twenty queries of known letters.

known = np.concatenate(mondays[:2])
X_support, y_support = pictures_of(known, 0, 3)
X_asked, y_asked = pictures_of(known, 10, 20)
new_only = learner.adapt(X_support, y_support)
for what, queries in (("Georgian letters", X_asked), ("Armenian letters", X_none)):
    answer = new_only.predict(queries, reject_label="?", reject_rate=0.05)
    print(f"{what}: {100 * np.mean(answer == '?'):.0f} % answered by '?'")

# %%
# Unlabelled examples: one labelled picture of each of ten letters, and five without a label.

X_one, y_one = pictures_of(mondays[0], 0, 1)
X_more, _ = pictures_of(mondays[0], 1, 6)
X_asked_ten, y_asked_ten = pictures_of(mondays[0], 10, 20)
labels = np.concatenate([y_one, np.full(len(X_more), "?")])
refined = learner.adapt(np.concatenate([X_one, X_more]), labels, unlabelled="?")
for what, model in (("one example each", learner.adapt(X_one, y_one)), ("and unlabelled", refined)):
    print(f"Ten letters, {what}: {100 * model.score(X_asked_ten, y_asked_ten):.1f} %")

# %%
# The pictures: accuracies by week, both errors of "none of these", and what a confidence is worth.

figure, axes = plt.subplots(1, 3, figsize=(13, 5), layout="constrained")
week = np.arange(1, 5)
for weeks, style, name in ((plain, "--", "as trained"), (lifted, "-", "lifted")):
    for column, (side, colour, marker) in enumerate(
        (("old", "tab:blue", "o"), ("new", "tab:orange", "s"))
    ):
        label = f"{side}, {name}"
        axes[0].plot(week, weeks[:, column], style, color=colour, marker=marker, label=label)
axes[0].set(xlabel="Monday", ylabel="accuracy, %", xticks=week, ylim=(0, 100))
axes[0].set_title("300 old letters and ten new a week")
RejectionDisplay.from_estimator(new_only, X_asked, X_none, ax=axes[1], name="20 letters")
axes[1].set_title("None of these")
for name, model in (("as trained", as_trained), ("calibrated", learner)):
    adapted = model.adapt(X_support, y_support)
    ReliabilityDisplay.from_estimator(adapted, X_asked, y_asked, n_bins=8, ax=axes[2], name=name)
axes[2].set_title("Confidence in 20 new letters")
for axis in axes:
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize="small")
figure.savefig("old_and_new.png", dpi=110)
print(f"\nDone in {time.perf_counter() - started:.0f} s; see old_and_new.png.")
