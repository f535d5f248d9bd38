"""
Quick start: reading a new script
=================================

A network is meta-trained on the letters of four scripts. Then it is adapted to one example of each
Georgian letter, without further training, and reads Georgian.

``DATA=omniglot make demo`` runs on handwritten characters of fifty alphabets instead. They are
downloaded once, or read from a folder that you have (``DATA_FOLDER=...``).
"""

import os
import time

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.datasets import fetch_omniglot, make_glyphs
from sklearn_fewshot.inspection import EpisodeDisplay
from sklearn_fewshot.model_selection import EpisodeSplit, episodic_score

# %%
# The data: images of letters. The maker of an image is a typeface, or a person who draws.

if os.environ.get("DATA") == "omniglot":
    data = fetch_omniglot(folder=os.environ.get("DATA_FOLDER"))
    script, maker, new_script = data.alphabet, data.drawer, "Tengwar"
else:
    print("Drawing letters ...")
    data = make_glyphs(random_state=0)
    script, maker, new_script = data.script, data.face, "Georgian"

X, y = data.images, data.target
old, new = script != new_script, script == new_script
X_new, y_new, maker_new = X[new], y[new], maker[new]
n_old, n_new = len(np.unique(y[old])), len(np.unique(y_new))

# %%
# Meta-training, once, on episodes of 60 letters with one example each. Support and queries never
# come from the same maker.

print(f"Meta-training on {n_old} letters of {len(np.unique(script[old]))} scripts:")
start = time.perf_counter()
learner = ProtoNetClassifier(n_shot=1, max_epochs=12, random_state=0, verbose=1)
learner.fit(X[old], y[old], groups=maker[old])
print(f"Trained in {time.perf_counter() - start:.0f} s.\n")

# %%
# Adaptation: one example of each new letter makes a classifier of them.

episode = EpisodeSplit(1, n_way="all", n_shot=1, n_query=8, random_state=0)
support, query = next(episode.split(X_new, y_new, maker_new))
start = time.perf_counter()
classifier = learner.adapt(X_new[support], y_new[support])
milliseconds = 1000 * (time.perf_counter() - start)
print(f"Adapted to {n_new} letters of {new_script} in {milliseconds:.0f} ms.\n")

# %%
# Evaluation: many such episodes, for the learner and for a baseline.

pixels = X_new.reshape(len(X_new), -1) / 255.0
for n_way, n_episodes in ((5, 600), ("all", 100)):
    task = {"n_way": n_way, "n_shot": 1, "n_episodes": n_episodes, "groups": maker_new}
    baseline = episodic_score(KNeighborsClassifier(1), pixels, y_new, **task)
    print(f"{new_script}, {n_new if n_way == 'all' else n_way} letters to choose from:")
    print(f"    meta-trained            {episodic_score(learner, X_new, y_new, **task)}")
    print(f"    1-nearest neighbour     {baseline}")

# %%
# The episode above: the first letters of the alphabet.

display = EpisodeDisplay.from_estimator(
    classifier,
    X_new[support],
    y_new[support],
    X_new[query],
    y_new[query],
    classes=np.unique(y_new)[:7],
)
display.figure_.savefig("quickstart.png", dpi=110)
print("\nSupport, queries and predictions: see quickstart.png in this folder\n")

print("What to try next:")
print("  n_shot=5 in the evaluation above: five examples of each letter instead of one")
print("  DATA=omniglot make demo: handwriting instead of print")
print("  your own arrays: the README has the twenty lines")
