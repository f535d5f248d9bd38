"""
How many examples are enough?
=============================

More examples of a new class make any classifier better. A meta-trained one needs fewer; one that is
fitted on the examples only catches up as their number grows. Where the curves meet depends on the
data, so draw them for yours.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.datasets import make_glyphs
from sklearn_fewshot.inspection import ShotCurveDisplay
from sklearn_fewshot.model_selection import shot_curve

# %%
# Letters as rows of 256 pixels. Armenian and Georgian ones are the new classes.

glyphs = make_glyphs(size=16, n_per_class=30, random_state=0)
X, y = glyphs.images.reshape(len(glyphs.images), -1) / 255.0, glyphs.target
new = np.isin(glyphs.script, ["Armenian", "Georgian"])
pipe = make_pipeline(StandardScaler(), ProtoNetClassifier(n_way=40, max_epochs=10, random_state=0))
pipe.fit(X[~new], y[~new])

# %%
# All three on the same tasks: twenty letters, a growing number of examples per letter. The two
# baselines get the pixels through the same scaler.

task = {"n_shots": (1, 2, 3, 5, 10, 20), "n_way": 20, "n_query": 8, "n_episodes": 60}
task |= {"random_state": 0}
alone = task | {"preprocess": pipe[:-1]}
logistic = LogisticRegression(C=0.01, max_iter=200)
curves = {
    "meta-trained": shot_curve(pipe, X[new], y[new], **task),
    "logistic regression": shot_curve(logistic, X[new], y[new], **alone),
    "nearest neighbour": shot_curve(KNeighborsClassifier(1), X[new], y[new], **alone),
}
for name, curve in curves.items():
    means = ", ".join(f"{100 * mean:.1f}" for mean in curve.mean)
    print(f"{name:<20} {means}")

# %%
# Read across: for the accuracy of meta-training with one example, the baselines need many.

ShotCurveDisplay.from_curves(curves)
plt.show()
