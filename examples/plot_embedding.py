"""
Embeddings before and after training
====================================

A learner embeds samples in a space in which those of a class are near each other. Here are the
embeddings of new letters before and after meta-training.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.manifold import TSNE

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.datasets import make_glyphs
from sklearn_fewshot.inspection import EmbeddingDisplay, TrainingDisplay

# %%
# Eight Georgian letters are the new classes: three examples of each, and twelve queries.

glyphs = make_glyphs(size=20, random_state=0)
X, y = glyphs.images, glyphs.target
old = np.isin(glyphs.script, ["Greek", "Cyrillic", "Armenian"])
letters = list("აბგდეკლმ")
rows = np.array([np.flatnonzero(y == letter)[:15] for letter in letters])
support, query = rows[:, :3].ravel(), rows[:, 3:].ravel()
episode = X[support], y[support], X[query], y[query]

# %%
# The same network twice: with its random initial weights (``max_epochs=0``), and trained.

params = {"n_way": 30, "random_state": 0}
untrained = ProtoNetClassifier(max_epochs=0, **params).fit(X[old], y[old])
trained = ProtoNetClassifier(max_epochs=8, **params).fit(X[old], y[old])

# %%
# Prototypes are the means of the examples; a query is of the class whose prototype is nearest, in
# all dimensions of the embedding. t-SNE draws a map that keeps neighbours together; by default the
# display takes the two principal components.

figure, axes = plt.subplots(1, 2, figsize=(13, 5.5), layout="constrained")
for ax, learner, when in zip(axes, (untrained, trained), ("before", "after"), strict=True):
    tsne = TSNE(perplexity=12, random_state=0)
    display = EmbeddingDisplay.from_estimator(learner, *episode, transformer=tsne, ax=ax)
    ax.set_title(f"{when} meta-training: {ax.get_title()}")
    n_right = np.sum(display.y_pred == display.y_query)
    print(f"{when}: {n_right} of {len(query)} queries right")

# %%
# The course of training: the loss on the training letters, and the accuracy on held-out letters.
# The weights of the epoch with the best score on these are kept.

TrainingDisplay.from_estimator(trained)
plt.show()
