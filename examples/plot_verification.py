"""
Verification: are these two the same?
=====================================

Is this signature by the same hand as that one? Are these two photos of one animal? A Siamese
network scores pairs of samples of new classes, and a threshold sets the trade-off between two kinds
of errors.
"""

import matplotlib.pyplot as plt
import numpy as np

from sklearn_fewshot import SiameseNetClassifier
from sklearn_fewshot.datasets import make_glyphs
from sklearn_fewshot.inspection import PairRocDisplay

# %%
# The data: pairs of letters. The network is trained on three scripts; the threshold is set on
# Armenian letters and tested on Georgian ones.

glyphs = make_glyphs(size=20, random_state=0)
X, y, script = glyphs.images, glyphs.target, glyphs.script
rng = np.random.default_rng(0)
latin = rng.choice(np.unique(y[script == "Latin"]), 150, replace=False)
old = np.isin(script, ["Greek", "Cyrillic"]) | np.isin(y, latin)

learner = SiameseNetClassifier(n_way=30, max_epochs=10, random_state=0)
learner.fit(X[old], y[old])


def pairs_of(name, n_pairs):
    """Sample pairs of letters of a script: half of one letter, half of two."""
    rows = np.flatnonzero(script == name)
    first = rng.choice(rows, 30 * n_pairs)
    second = rng.choice(rows, 30 * n_pairs)
    first, second = first[first != second], second[first != second]
    is_same = y[first] == y[second]
    taken = np.concatenate(
        [np.flatnonzero(is_same)[: n_pairs // 2], np.flatnonzero(~is_same)[: n_pairs // 2]]
    )
    return np.stack([X[first[taken]], X[second[taken]]], axis=1), np.where(is_same[taken], 1, -1)


# %%
# The threshold: at most one in twenty pairs of different letters may be accepted.

learner.calibrate_threshold(*pairs_of("Armenian", 1000), false_accept_rate=0.05)
pairs, same = pairs_of("Georgian", 1000)
predicted = learner.predict_pairs(pairs)
print(
    f"Of {np.sum(same == 1)} pairs of one letter {100 * np.mean(predicted[same == 1] == 1):.1f} %"
)
print(f"were accepted; of {np.sum(same == -1)} pairs of two letters")
print(f"{100 * np.mean(predicted[same == -1] == 1):.1f} %.")

# %%
# The distance of the pixels as a baseline, and the most confident errors of both kinds.

pixels = pairs.astype(float).reshape(len(pairs), 2, -1)
distance = np.linalg.norm(pixels[:, 0] - pixels[:, 1], axis=1)

figure = plt.figure(figsize=(11, 5.5), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1.1, 1])
ax = left.subplots()
PairRocDisplay.from_estimator(learner, pairs, same, name="Siamese network", ax=ax)
PairRocDisplay.from_predictions(same, -distance, name="pixels", ax=ax)
ax.set_title("Pairs of letters of a new script")

score = learner.pair_score(pairs)
missed = np.flatnonzero(same == 1)[np.argsort(score[same == 1])[:4]]
confused = np.flatnonzero(same == -1)[np.argsort(-score[same == -1])[:4]]
axes = right.subplots(4, 4)
for side, rows in enumerate((missed, confused)):
    for line, row in zip(axes, rows, strict=True):
        for ax, image in zip(line[2 * side : 2 * side + 2], pairs[row], strict=True):
            ax.imshow(image[0], cmap="gray_r")
            ax.set(xticks=[], yticks=[])
        line[2 * side].set_xlabel(f"score {score[row]:.2f}", loc="left")
axes[0, 0].set_title("the same, rejected", loc="left")
axes[0, 2].set_title("different, accepted", loc="left")
plt.show()
