"""
Regression: a sinusoid after a few gradient steps
=================================================

What is new need not be a class: it may be a function, of which ten values are known. A network
that was trained on many such functions for this adapts its weights to the ten values in a few
gradient steps. Here it is watched at them.
"""

import matplotlib.pyplot as plt
import numpy as np

from sklearn_fewshot import MAMLRegressor, RidgeNetRegressor
from sklearn_fewshot.datasets import make_sinusoids
from sklearn_fewshot.inspection import TaskDisplay
from sklearn_fewshot.model_selection import task_score

# %%
# The data: sinusoids, each of its own amplitude and phase, known at 30 points. The last hundred are
# new.

X, y, tasks = make_sinusoids(n_tasks=2000, n_samples=30, random_state=0)
new = tasks >= 1900
base, held_out = ((X[part], y[part], tasks[part]) for part in (~new, new))

# %%
# Model-agnostic meta-learning is trained for the error after one step. Its step size is given, not
# learned, so that more steps can be taken later.

learner = MAMLRegressor(
    n_steps=1,
    step_size=0.02,
    learn_step_size=False,
    n_shot=10,
    episodes_per_epoch=5000,
    max_epochs=10,
    calibrate=False,
    random_state=0,
)
learner.fit(*base[:2], tasks=base[2])

# %%
# The error falls with the steps, also after the one that it was trained for. Below it, a regression
# in closed form on learned features: 2,000 tasks of training, not 50,000.

for n_steps in (0, 1, 5):
    score = task_score(learner.with_steps(n_steps), *held_out, n_shot=10)
    print(f"after {n_steps}: squared error {-score.mean:.2f}")
closed_form = RidgeNetRegressor(max_epochs=5, random_state=0).fit(*base[:2], tasks=base[2])
score = task_score(closed_form, *held_out, n_shot=10)
print(f"RidgeNet: squared error {-score.mean:.2f}")

# %%
# One new sinusoid. Without a step the network predicts the same curve for every task. After five
# steps the curve passes through the known values; at the left, beyond these, it is least accurate.

is_drawn = tasks == 1906
X_new, y_new = X[is_drawn], y[is_drawn]
grid = np.linspace(-5, 5, 200)
curves = {}
for n_steps, label in {0: "no step", 1: "1 step", 5: "5 steps"}.items():
    regressor = learner.with_steps(n_steps).adapt(X_new[:10], y_new[:10])
    curves[label] = regressor.predict(grid[:, None]), None  # without intervals
display = TaskDisplay(grid, curves, X_new[:10, 0], y_new[:10]).plot()
display.ax_.plot(X_new[10:], y_new[10:], "x", color="0.5", label="values to predict")
display.ax_.set_title("A sinusoid of which ten values are known")
display.ax_.legend()
plt.show()
