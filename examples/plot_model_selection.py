"""
Model selection for new classes
===============================

Which learner, which metric, how many examples in a training episode? A grid search answers, on
folds without a common script. Its choice is then scored on two scripts that the search never saw,
with baselines that use no training, and the confusions are shown.

``DATA=omniglot python examples/plot_model_selection.py`` runs on handwritten characters of fifty
alphabets instead. They are downloaded once, or read from a folder (``DATA_FOLDER=...``).
"""

import os
import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sklearn_fewshot import MatchingNetClassifier, ProtoNetClassifier
from sklearn_fewshot.datasets import fetch_omniglot, make_glyphs
from sklearn_fewshot.inspection import ShotCurveDisplay
from sklearn_fewshot.model_selection import (
    ClassKFold,
    EpisodicScorer,
    compare_on_episodes,
    episodic_score,
    shot_curve,
)


def passed():
    return f"{time.perf_counter() - start:.0f} s passed"


start = time.perf_counter()

# %%
# The data: small images of letters, each in another typeface (or by another drawer). Two scripts
# are put aside before anything else.

if os.environ.get("DATA") == "omniglot":
    data = fetch_omniglot(folder=os.environ.get("DATA_FOLDER"))
    script, unseen = data.alphabet, ["Tengwar", "Tibetan"]
else:
    print("Drawing letters ...")
    data = make_glyphs(size=16, n_per_class=10, random_state=0)
    script, unseen = data.script, ["Armenian", "Georgian"]

X, y = data.images / np.float32(255), data.target
new = np.isin(script, unseen)
X_old, y_old, script_old = X[~new], y[~new], script[~new]
X_new, y_new = X[new], y[new]
print(f"Search: {len(np.unique(y_old))} letters of {len(np.unique(script_old))} scripts.")
print(f"Put aside: {len(np.unique(y_new))} letters of {' and '.join(unseen)}.\n")

# %%
# The search. The learner is a step of the pipeline, so it is a parameter like any other. Training
# is short here, which suffices for a ranking. ``ClassKFold`` keeps the letters of a script
# together, so every fold is a script (or several) not trained on, as in the test. One search
# computes two scores, 1-shot and 5-shot.

short = {"n_way": 30, "n_query": 3, "episodes_per_epoch": 20, "max_epochs": 2}
short["validation_fraction"] = 0  # no early stopping: the last weights are kept
heads = {"learner__metric": ["sqeuclidean", "cosine"], "learner__n_shot": [1, 3]}
search = GridSearchCV(
    Pipeline([("learner", ProtoNetClassifier())]),
    [
        {"learner": [ProtoNetClassifier(**short, random_state=0)], **heads},
        {"learner": [MatchingNetClassifier(**short, random_state=0)], **heads},
    ],
    cv=ClassKFold(2),
    scoring={
        "1-shot": EpisodicScorer(n_way=20, n_shot=1, n_query=4, n_episodes=100),
        "5-shot": EpisodicScorer(n_way=20, n_shot=5, n_query=4, n_episodes=100),
    },
    refit=False,  # the best candidate is trained longer, below
    n_jobs=2,
    error_score="raise",
)
print("Searching: 8 candidates, 2 folds of scripts.")
search.fit(X_old, y_old, groups=script_old)
print(f"{passed()}\n")

# %%
# What the search found: accuracy in %, mean over the folds, and the lowest and the highest fold.
# Folds are whole scripts and differ a lot, but they are the same for all candidates.


def name_of(params):
    learner = type(params["learner"]).__name__.removesuffix("Classifier")
    return f"{learner}, {params['learner__metric']}, {params['learner__n_shot']}-shot episodes"


found = search.cv_results_
scores = {
    task: 100 * np.array([found[f"split{fold}_test_{task}"] for fold in range(search.n_splits_)])
    for task in ("1-shot", "5-shot")
}
print(f"{'20-way accuracy in %':<42}{'1-shot':<25}5-shot")
for candidate in np.argsort(found["rank_test_1-shot"]):
    cells = [
        f"{fold.mean():.1f} ({fold.min():.1f} to {fold.max():.1f})"
        for fold in (scores["1-shot"][:, candidate], scores["5-shot"][:, candidate])
    ]
    print(f"{name_of(found['params'][candidate]):<42}{cells[0]:<25}{cells[1]}")

# %%
# Train the best candidate of each kind for longer, on all scripts of the search. The best score
# above is a maximum over candidates, so biased upwards; what follows is not, since nothing was
# selected on the two scripts put aside.

ranked = [found["params"][candidate] for candidate in np.argsort(found["rank_test_1-shot"])]
chosen = {}
for params in ranked:
    kind = type(params["learner"]).__name__.removesuffix("Classifier")
    if kind not in chosen:
        longer = Pipeline([("learner", ProtoNetClassifier())]).set_params(**params)
        longer.set_params(learner__max_epochs=8)
        chosen[kind] = longer.fit(X_old, y_old)
best = next(iter(chosen))
print(f"\nTrained the best candidate of each kind for longer. {passed()}\n")

# %%
# A paired comparison on the scripts put aside: all estimators predict the same queries from the
# same support sets. Some baselines are fitted on each support set only; others also use the base
# letters, but are not meta-trained. The verdict says whether it holds for these letters only.

task = {"n_way": 20, "n_shot": 1, "n_query": 5, "n_episodes": 200}
comparison = compare_on_episodes(
    chosen, X_new, y_new, baselines=True, base=(X_old.reshape(len(X_old), -1), y_old), **task
)
print(comparison)
by_class = comparison.results[best].interval_over("classes")
print(f"Interval over letters instead of episodes, {best}: {by_class}")
print("One training of each: another seed may give another order where they are close.")
print(f"{passed()}\n")

# %%
# How much do more examples help? The baseline is fitted on each support set only.

task = {"n_shots": (1, 2, 3, 5), "n_way": 20, "n_query": 5, "n_episodes": 200}
curves = {kind: shot_curve(learner, X_new, y_new, **task) for kind, learner in chosen.items()}
pixels = X_new.reshape(len(X_new), -1)
baseline = LogisticRegression(max_iter=1000)
curves["logistic regression on pixels"] = shot_curve(baseline, pixels, y_new, **task)
display = ShotCurveDisplay.from_curves(curves)
display.ax_.set_title(f"Letters of {' and '.join(unseen)}: {display.ax_.get_title()}")
display.figure_.savefig("shot_curve.png", dpi=110)

# %%
# Which letters are confused, with all of them to choose from? The pairs with the most errors, and
# the confusion matrix of the worst twelve letters.

result = episodic_score(chosen[best], X_new, y_new, n_way="all", n_shot=1, n_query=5)
print(f"{best}, all letters:\n    {result}")
counts = result.confusion_matrix()
percent = 100 * counts / counts.sum(axis=1, keepdims=True)
mutual = np.triu(percent + percent.T, 1)
pairs = np.column_stack(np.unravel_index(np.argsort(-mutual, axis=None), mutual.shape))
for row, column in pairs[:5]:
    print(
        f"    {result.classes[row]} is predicted as {result.classes[column]} in "
        f"{percent[row, column]:.0f} %, the other way round in {percent[column, row]:.0f} %"
    )
shown = list(dict.fromkeys(pairs[:30].ravel().tolist()))[:12]  # by their worst pair
display = ConfusionMatrixDisplay(
    percent[np.ix_(shown, shown)], display_labels=result.classes[shown]
)
figure, ax = plt.subplots(figsize=(7, 6.5), layout="constrained")
display.plot(
    ax=ax,
    cmap="Blues",
    values_format=".0f",
    colorbar=False,
    xticks_rotation=90 * (len(y_new[0]) > 1),
)
for text in display.text_.ravel():
    text.set_visible(text.get_text() != "0")
ax.set(
    title=f"{best}, 1-shot, {len(result.classes)} letters to choose from, of which these are\n"
    "confused most. In % of the queries of a row; the rest went to other letters.",
    xlabel="predicted",
    ylabel="true",
)
figure.savefig("confusions.png", dpi=110)
print(f"{passed()}\n")
print("Figures: shot_curve.png and confusions.png, in this folder")
