"""
A paired comparison of learners
===============================

Is one learner better than another? Three rules make the comparison unbiased and exact: all are
scored on the same tasks, so that differences are paired; baselines without meta-training are
included; and nothing was selected on the classes of the tasks.
"""

import matplotlib.pyplot as plt
import numpy as np

from sklearn_fewshot import (
    BaselineClassifier,
    MatchingNetClassifier,
    ProtoNetClassifier,
    SiameseNetClassifier,
)
from sklearn_fewshot.datasets import make_glyphs
from sklearn_fewshot.inspection import EpisodeScoresDisplay
from sklearn_fewshot.model_selection import compare_on_episodes

# %%
# Letters of three scripts to train on. The tasks are made of Georgian and Armenian letters.

glyphs = make_glyphs(size=16, n_per_class=12, random_state=0)
X, y = glyphs.images, glyphs.target
new = np.isin(glyphs.script, ["Armenian", "Georgian"])
old = np.isin(glyphs.script, ["Greek", "Cyrillic"])

params = {"n_way": 30, "max_epochs": 6, "random_state": 0}
learners = {
    "Prototypical": ProtoNetClassifier(**params),
    "Matching": MatchingNetClassifier(**params),
    "Siamese": SiameseNetClassifier(**params),
    "Baseline": BaselineClassifier(max_epochs=6, random_state=0),
}
for name, learner in learners.items():
    learner.fit(X[old], y[old])
    print(f"trained: {name}")

# %%
# Every learner is scored on the same 300 tasks, and so are three baselines that are fitted on each
# support set only. The interval is that of the mean over tasks. It is conditional on these letters
# and trained networks; other letters, or another training, may give another order.

task = {"n_way": 10, "n_shot": 1, "n_query": 5, "n_episodes": 300, "random_state": 0}
comparison = compare_on_episodes(learners, X[new], y[new], baselines=True, **task)
print(comparison)

# %%
# At the left the scores: they overlap widely, since some tasks are hard for all learners. At the
# right the paired differences to the first learner, which have a much smaller variance.

figure, axes = plt.subplots(1, 2, figsize=(13, 5.5), layout="constrained")
EpisodeScoresDisplay.from_results(comparison, ax=axes[0])
EpisodeScoresDisplay.from_results(comparison, paired=True, ax=axes[1])
plt.show()
