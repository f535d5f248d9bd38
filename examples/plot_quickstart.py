"""
New letters from one example each
=================================

A learner is meta-trained on the letters of some scripts. Then it is given a script that it has
never seen, one example of each letter, and recognises the others.

With ``DATA=omniglot`` in the environment it takes handwritten characters instead; ``DATA_FOLDER``
names a folder that has them, else they are downloaded once.
"""

# %%
# The data: pictures, their letters, and who wrote them (a typeface, or a person).
import os
import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.datasets import fetch_omniglot, make_glyphs
from sklearn_fewshot.inspection import EpisodeDisplay
from sklearn_fewshot.model_selection import episodic_score

if os.environ.get("DATA") == "omniglot":
    data = fetch_omniglot(folder=os.environ.get("DATA_FOLDER"))
    writer, script, new_script = data.drawer, data.alphabet, "Tibetan"
else:
    data = make_glyphs(random_state=0)
    writer, script, new_script = data.face, data.script, "Georgian"
X, y = data.images, data.target
new = script == new_script
n_old, n_new = len(np.unique(y[~new])), len(np.unique(y[new]))
print(f"{n_old} letters to learn from, {n_new} {new_script} letters to recognise afterwards.")

# %%
# Meta-training: once, on the old letters. Support and queries of an episode never share a writer.
start = time.perf_counter()
learner = ProtoNetClassifier(n_shot=1, max_epochs=10, random_state=0, verbose=1)
learner.fit(X[~new], y[~new], groups=writer[~new])
print(f"Meta-training took {time.perf_counter() - start:.0f} s.")

# %%
# Adaptation: one example of each new letter makes a classifier of them, without training.
X_new, y_new, writer_new = X[new], y[new], writer[new]
one_writer = writer_new == writer_new[0]
_, first = np.unique(y_new[one_writer], return_index=True)
support = np.flatnonzero(one_writer)[first]
query = np.flatnonzero(~one_writer)
classifier = learner.adapt(X_new[support], y_new[support])
print(f"One example each, {n_new} letters: {classifier.score(X_new[query], y_new[query]):.1%}")

# %%
# How good is that? Many support sets, and simple methods on the pixels of the same episodes.
flat = X_new.reshape(len(X_new), -1) / 255.0
for n_way, n_episodes in ((5, 600), ("all", 50)):
    episodes = {"n_way": n_way, "n_episodes": n_episodes, "groups": writer_new, "n_query": 5}
    print("learner         ", episodic_score(learner, X_new, y_new, **episodes))
    for floor in (NearestCentroid(), KNeighborsClassifier(1, metric="cosine")):
        print(f"{type(floor).__name__:16}", episodic_score(floor, flat, y_new, **episodes))

# %%
# The picture: support at the left, and what was taken for each letter.
shown = np.random.default_rng(0).permutation(query)
EpisodeDisplay.from_estimator(
    classifier, X_new[support], y_new[support], X_new[shown], y_new[shown]
)
plt.savefig("quickstart.png", dpi=100, bbox_inches="tight")
print("The picture is in quickstart.png. Next, try:")
print("  learner.adapt(X_support, y_support) with a few examples of your own classes")
print("  learner.adapt(X_support, y_support, include_base=True) to keep the old classes, too")
print("  DATA=omniglot make demo, for handwriting")
