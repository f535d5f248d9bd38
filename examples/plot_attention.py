"""
Attention: what a query reads of the examples
=============================================

Learners that read the support set say which examples a prediction comes from. Handwritten digits:
seven to train on, three new ones with a few examples each.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from sklearn_fewshot import InContextClassifier, MatchingNetClassifier
from sklearn_fewshot.inspection import AttentionDisplay
from sklearn_fewshot.model_selection import episodic_score

X, y = load_digits(return_X_y=True)
base, new = y < 7, y >= 7
X_new, y_new = X[new], y[new]

# %%
# A Matching Network weighs all examples by their similarity to the query. In-context attention
# also lets the examples see each other, and compares within each class first.

# Seven classes are few to learn attention from: a small learning rate.
short = {"max_epochs": 5, "lr": 1e-4, "validation_fraction": 0.0, "random_state": 0}
learners = {
    "Matching Network": MatchingNetClassifier(**short),
    "in-context attention": InContextClassifier(**short),
}
for name, learner in learners.items():
    learner.fit(X[base], y[base])
    score = episodic_score(learner, X_new, y_new, n_way=3, n_shot=5, random_state=0)
    print(f"{name}: {score}")

# %%
# A row for each of twenty queries. Where a row is dark in another class than its own, the
# prediction goes there: the label at the left then names both.

figure, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
for ax, (name, learner) in zip(axes, learners.items(), strict=True):
    AttentionDisplay.from_estimator(
        learner, X_new[:15], y_new[:15], X_new[15:35], y_new[15:35], ax=ax
    )
    ax.set_title(name)
plt.show()
