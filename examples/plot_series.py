"""
Time series: gestures from one example
======================================

A sensor records the horizontal and vertical position of a hand, 48 times. The network learns from
many base gestures what two recordings of one gesture have in common, and recognises new gestures
from a single recording each.

The gestures are simulated: smooth random curves, drawn at varying speed, rotated a little and with
some noise. Series have the shape ``(n_samples, channels, length)``.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.model_selection import EpisodeSplit, episodic_score

LENGTH, N_OLD, N_NEW, N_EACH = 48, 150, 10, 12

# %%
# The data: 160 gestures, recorded twelve times each. Ten are the new classes.

rng = np.random.default_rng(0)


def recording(shape):
    """Record a gesture once: at another speed, rotated, and with noise."""
    speed = np.exp(np.convolve(rng.normal(scale=3.0, size=LENGTH + 19), np.ones(20) / 20, "valid"))
    time = np.cumsum(speed) / speed.sum()
    waves = np.arange(1, shape.shape[-1] + 1)
    curve = np.einsum("cw,tw->ct", shape[0], np.sin(np.pi * np.outer(time, waves)))
    curve += np.einsum("cw,tw->ct", shape[1], np.cos(np.pi * np.outer(time, waves)))
    angle = rng.normal(scale=0.35)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn @ curve * np.exp(rng.normal(scale=0.3)) + rng.normal(scale=0.05, size=(2, LENGTH))


shapes = rng.normal(size=(N_OLD + N_NEW, 2, 2, 4)) / np.arange(1, 5)
y = np.repeat([f"gesture {i}" for i in range(len(shapes))], N_EACH)
X = np.array([recording(shape) for shape in np.repeat(shapes, N_EACH, axis=0)], dtype=np.float32)
new = np.arange(len(y)) >= N_OLD * N_EACH
X_new, y_new = X[new], y[new]
print(f"Series of shape {X.shape[1:]}: {N_OLD} base gestures, {N_NEW} new ones.")

# %%
# Meta-training on the base gestures. For series the network is convolutional.

learner = ProtoNetClassifier(n_way=20, n_shot=1, max_epochs=20, random_state=0).fit(
    X[~new], y[~new]
)
print(f"Trained {len(learner.history_)} epochs.")

# %%
# One recording of each of the ten new gestures makes a classifier. The baseline predicts the class
# of the most similar recording, point by point.

task = {"n_way": "all", "n_shot": 1, "n_query": 10, "n_episodes": 200, "random_state": 0}
print("meta-trained      ", episodic_score(learner, X_new, y_new, **task))
flat = X_new.reshape(len(X_new), -1)
print("nearest recording ", episodic_score(KNeighborsClassifier(1), flat, y_new, **task))

# %%
# One such task: on top the support set, below the queries. Dashed lines on grey are errors.

split = EpisodeSplit(1, n_way="all", n_shot=1, n_query=3, random_state=1)
support, query = next(split.split(X_new, y_new))
support = support[np.argsort(y_new[support])]
classifier = learner.adapt(X_new[support], y_new[support])
predicted = classifier.predict(X_new[query])
colours = plt.get_cmap("tab20")(np.linspace(0, 1, 20))

figure, axes = plt.subplots(4, N_NEW, figsize=(13, 5), layout="constrained")
for column, row in enumerate(support):
    label = y_new[row]
    axes[0, column].plot(*X_new[row], color=colours[column], linewidth=2)
    axes[0, column].set_title(label.replace(" ", "\n"), fontsize="small")
    for place, asked in enumerate(query[y_new[query] == label], start=1):
        answer = predicted[list(query).index(asked)]
        ax, is_right = axes[place, column], answer == label
        ax.plot(*X_new[asked], color=colours[column], linestyle="-" if is_right else "--")
        if not is_right:
            ax.set_facecolor("0.85")
            ax.set_xlabel("predicted\n" + answer.split()[1], fontsize="small")
for ax in axes.ravel():
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.set_adjustable("datalim")
axes[0, 0].set_ylabel("support")
axes[2, 0].set_ylabel("queries")
figure.suptitle("Ten new gestures, one recording each")
plt.show()
