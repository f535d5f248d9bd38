"""
Incremental learning of new classes
===================================

A classifier of letters is in use. When a letter of a new class comes up and is labelled, the class
is added. Nothing is trained: ``partial_fit`` adds an example, of a known class or of a new one, and
``drop_classes`` removes a class.
"""

import time

import matplotlib.pyplot as plt
import numpy as np

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.datasets import make_glyphs

# %%
# Meta-training on the letters of three scripts. Georgian letters come up later, one after the
# other.

glyphs = make_glyphs(size=20, random_state=0)
X, y = glyphs.images, glyphs.target
old = np.isin(glyphs.script, ["Latin", "Greek", "Cyrillic"])
learner = ProtoNetClassifier(n_shot=(1, 3), n_way=30, max_epochs=8, random_state=0)
learner.fit(X[old], y[old])

# %%
# A stream of 400 letters: at first five different ones, then more and more. The classifier begins
# with one example of two letters. After a wrong prediction the letter is added to the support set,
# as a new class or as one more example.

rng = np.random.default_rng(0)
georgian = rng.permutation(np.unique(y[glyphs.script == "Georgian"]))[:25]
rows_of = {letter: list(rng.permutation(np.flatnonzero(y == letter))) for letter in georgian}
start = [rows_of[letter].pop() for letter in georgian[:2]]
classifier = learner.adapt(X[start], y[start])

n_answers, log, milliseconds = 400, [], []
for step in range(n_answers):
    n_in_use = min(len(georgian), 5 + step // 12)
    letter = rng.choice([name for name in georgian[:n_in_use] if rows_of[name]])
    row = rows_of[letter].pop()
    was_known = letter in classifier.classes_
    is_right = classifier.predict(X[[row]])[0] == letter
    if not is_right:
        begun = time.perf_counter()
        classifier.partial_fit(X[[row]], [letter])
        milliseconds.append(1000 * (time.perf_counter() - begun))
    log.append((was_known, is_right, len(classifier.classes_), classifier.class_count_.sum()))

was_known, is_right, n_classes, n_examples = np.array(log).T
known_right = 100 * is_right[was_known == 1].mean()
print(f"{n_classes[-1]} classes, {n_examples[-1]} examples in all.")
print(f"Adding one took {np.median(milliseconds):.1f} ms.")
print(f"Of letters of known classes, {known_right:.1f} % were right.")

# %%
# Removing a class: the classifier is as if it had never seen it.

classifier.drop_classes([georgian[0]])
print(f"{georgian[0]} is removed: {len(classifier.classes_)} classes.")

# %%
# The stream: each mark is a prediction.

figure, (above, below) = plt.subplots(
    2, 1, figsize=(9, 5.5), sharex=True, layout="constrained", height_ratios=[1, 2]
)
steps = np.arange(n_answers)
window = np.ones(40) / 40
share = np.convolve(is_right, window, "valid")
above.plot(steps[len(window) - 1 :], 100 * share, color="black")
above.set(ylabel="right, %", ylim=(0, 100), title="Predictions, moving average over 40")

kinds = {
    "right": (is_right == 1, ".", "tab:blue"),
    "wrong: one more example": ((is_right == 0) & (was_known == 1), "x", "tab:orange"),
    "not known: a new class": (was_known == 0, "^", "black"),
}
for name, (here, marker, colour) in kinds.items():
    below.plot(steps[here], n_classes[here], marker, color=colour, label=f"{name} ({here.sum()})")
below.plot(steps, n_examples, color="0.5", linestyle="--", label="examples in all")
below.set(xlabel="letters that came up", ylabel="classes")
below.legend()
plt.show()
