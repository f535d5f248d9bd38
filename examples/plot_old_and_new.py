"""
300 base classes, ten new per week
==================================

Letters take the place of your classes: products, intents, parts. 300 base classes have many images
each. Every Monday ten new classes come, with three images each, and from then on all are to be
recognised together. Some queries are outliers, and some new examples are unlabelled.

The network is trained once. Everything after that takes milliseconds.
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
# The data: 300 base letters with 16 images each for training and four more as queries, forty
# Georgian letters as new classes, and Armenian ones as outliers.

data = make_glyphs(size=20, random_state=0)
X, y, script = data.images, data.target, data.script
rng = np.random.default_rng(0)
others = np.unique(y[np.isin(script, ["Latin", "Greek", "Cyrillic"])])
old = np.isin(y, rng.choice(others, 300, replace=False))
is_query = np.arange(len(y)) % 20 >= 16  # the images of a letter are consecutive
X_old, y_old = X[old & is_query], y[old & is_query]
X_outliers = X[script == "Armenian"]
georgian = np.unique(y[script == "Georgian"])
mondays = [georgian[10 * week : 10 * week + 10] for week in range(4)]

print("Meta-training on 300 letters:")
learner = ProtoNetClassifier(n_way=30, max_epochs=8, random_state=0, verbose=1)
learner.fit(X[old & ~is_query], y[old & ~is_query])

# %%
# Mondays: the first makes a classifier of base and new letters, the others add to it. A class of
# three examples has a shot bias, a lower score than one of sixteen, which is estimated on
# held-out letters and corrected. The same network without the correction, for comparison.

as_trained = ProtoNetClassifier(**learner.get_params() | {"calibrate": False, "verbose": 0})
as_trained.fit(X[old & ~is_query], y[old & ~is_query])


def images_of(letters, start, stop):
    """Return some of the twenty images of each letter."""
    rows = [np.flatnonzero(y == letter)[start:stop] for letter in letters]
    return X[np.concatenate(rows)], y[np.concatenate(rows)]


def after_each_monday(learner):
    """Add the new letters week by week; return the classifier and its accuracies by week."""
    classifier, weeks = None, []
    for week, letters in enumerate(mondays):
        X_new, y_new = images_of(letters, 0, 3)
        if classifier is None:
            classifier = learner.adapt(X_new, y_new, include_base=True)
        else:
            classifier.partial_fit(X_new, y_new)
        X_query, y_query = images_of(np.concatenate(mondays[: week + 1]), 10, 20)
        y_true = np.concatenate([y_old, y_query])
        y_pred = classifier.predict(np.concatenate([X_old, X_query]))
        weeks.append(generalized_accuracy(y_true, y_pred, learner.classes_))
    return classifier, 100 * np.array(weeks)


classifier, corrected = after_each_monday(learner)
_, plain = after_each_monday(as_trained)
for name, weeks in (("as trained", plain), ("corrected", corrected)):
    base, new, harmonic = weeks[-1]
    print(f"After four Mondays, {name}: base {base:.1f} %, new {new:.1f} %, mean {harmonic:.1f} %")
print(f"{len(classifier.classes_)} classes now.\n")

# %%
# Remove a class.

classifier.drop_classes(georgian[:1])

# %%
# Rejection: twenty new letters of three examples each; some queries are Armenian, outliers.
# ``predict`` may reject one in twenty inliers.

known = np.concatenate(mondays[:2])
X_support, y_support = images_of(known, 0, 3)
X_query, y_query = images_of(known, 10, 20)
new_only = learner.adapt(X_support, y_support)
for what, queries in (("Georgian letters", X_query), ("Armenian letters", X_outliers)):
    answer = new_only.predict(queries, reject_label="?", reject_rate=0.05)
    print(f"{what}: {100 * np.mean(answer == '?'):.0f} % rejected")

# %%
# Unlabelled examples: one labelled image of each of ten letters, and five without a label.

X_one, y_one = images_of(mondays[0], 0, 1)
X_more, _ = images_of(mondays[0], 1, 6)
X_query_ten, y_query_ten = images_of(mondays[0], 10, 20)
labels = np.concatenate([y_one, np.full(len(X_more), "?")])
refined = learner.adapt(np.concatenate([X_one, X_more]), labels, unlabelled="?")
for what, model in (("one example each", learner.adapt(X_one, y_one)), ("and unlabelled", refined)):
    print(f"Ten letters, {what}: {100 * model.score(X_query_ten, y_query_ten):.1f} %")

# %%
# The figures: accuracies by week, both errors of rejection, and confidence against accuracy.

figure, axes = plt.subplots(1, 3, figsize=(13, 5), layout="constrained")
week = np.arange(1, 5)
for weeks, style, name in ((plain, "--", "as trained"), (corrected, "-", "corrected")):
    for column, (side, colour, marker) in enumerate(
        (("base", "tab:blue", "o"), ("new", "tab:orange", "s"))
    ):
        label = f"{side}, {name}"
        axes[0].plot(week, weeks[:, column], style, color=colour, marker=marker, label=label)
axes[0].set(xlabel="Monday", ylabel="accuracy, %", xticks=week, ylim=(0, 100))
axes[0].set_title("300 base letters and ten new per week")
RejectionDisplay.from_estimator(new_only, X_query, X_outliers, ax=axes[1], name="20 letters")
axes[1].set_title("Rejection of outliers")
for name, model in (("as trained", as_trained), ("calibrated", learner)):
    adapted = model.adapt(X_support, y_support)
    ReliabilityDisplay.from_estimator(adapted, X_query, y_query, n_bins=8, ax=axes[2], name=name)
axes[2].set_title("Confidence in 20 new letters")
for axis in axes:
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize="small")
figure.savefig("old_and_new.png", dpi=110)
print(f"\nDone in {time.perf_counter() - started:.0f} s; see old_and_new.png.")
