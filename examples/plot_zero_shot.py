"""
Zero-shot: digits from their attributes
=======================================

A display has seven segments. The network is trained on photos of other patterns than digits; the
attributes of a pattern are which segments are lit. Then it reads the ten digits, of which it has
seen no photo: zero-shot learning takes attributes of classes in place of examples.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy import ndimage
from sklearn.metrics import ConfusionMatrixDisplay

from sklearn_fewshot import ZeroShotProtoNetClassifier

# %%
# The data: every pattern of the segments, as photos of a distorted, blurred and noisy display.

SEGMENTS = {  # rows and columns of each
    "top": (slice(2, 4), slice(4, 12)),
    "upper left": (slice(3, 10), slice(3, 5)),
    "upper right": (slice(3, 10), slice(11, 13)),
    "middle": (slice(9, 11), slice(4, 12)),
    "lower left": (slice(10, 17), slice(3, 5)),
    "lower right": (slice(10, 17), slice(11, 13)),
    "bottom": (slice(16, 18), slice(4, 12)),
}
DIGITS = ["1110111", "0010010", "1011101", "1011011", "0111010"]
DIGITS += ["1101011", "1101111", "1010010", "1111111", "1111011"]

rng = np.random.default_rng(0)


def photo(pattern):
    """Return an image of shape (1, 20, 16) of the lit segments."""
    lit = np.zeros((20, 16))
    for is_lit, place in zip(pattern, SEGMENTS.values(), strict=True):
        if is_lit == "1":
            lit[place] = rng.uniform(0.6, 1.0)
    turn = np.eye(2) + rng.normal(scale=0.12, size=(2, 2))
    centre = np.array([9.5, 7.5])
    lit = ndimage.affine_transform(lit, turn, centre - turn @ centre + rng.normal(size=2))
    lit = ndimage.gaussian_filter(lit, rng.uniform(0.4, 1.2))
    return (lit + rng.normal(scale=0.15, size=lit.shape))[None].astype(np.float32)


patterns = [f"{number:07b}" for number in range(1, 128)]
attributes = {pattern: [int(bit) for bit in pattern] for pattern in patterns}
y = np.repeat(patterns, 20)
X = np.array([photo(pattern) for pattern in y])
new = np.isin(y, DIGITS)
print(f"{len(patterns) - 10} base patterns, 10 unseen digits.")

# %%
# Meta-training, on photos and attributes of the base patterns.

learner = ZeroShotProtoNetClassifier(n_way=30, n_query=3, max_epochs=15, random_state=0)
learner.fit(X[~new], y[~new], class_attributes={p: attributes[p] for p in np.unique(y[~new])})

# %%
# Adapt to the attributes of the ten digits.

digit_attributes = {str(digit): attributes[pattern] for digit, pattern in enumerate(DIGITS)}
classifier = learner.adapt(class_attributes=digit_attributes)
digit_of = {pattern: str(digit) for digit, pattern in enumerate(DIGITS)}
y_digits = np.array([digit_of[pattern] for pattern in y[new]])
predicted = classifier.predict(X[new])
print(f"Digits: {100 * np.mean(predicted == y_digits):.1f} % right; chance is 10 %.")

among_all = learner.adapt(class_attributes=digit_attributes, include_base=True)
share = np.mean(among_all.predict(X[new]) == y_digits)
print(f"With the base patterns to choose from as well, {100 * share:.1f} %.")

# %%
# Queries and predictions, and the confusion matrix.

figure = plt.figure(figsize=(10, 5), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[3, 2])
axes = left.subplots(4, 10)
for column in range(10):
    rows = np.flatnonzero(y_digits == str(column))[:4]
    for ax, row in zip(axes[:, column], rows, strict=True):
        ax.imshow(X[new][row, 0], cmap="gray", vmin=-0.2, vmax=1.1)
        ax.set(xticks=[], yticks=[])
        is_right = predicted[row] == y_digits[row]
        text = predicted[row] if is_right else f"{predicted[row]} (!)"
        ax.set_xlabel(text, fontweight="normal" if is_right else "bold")
left.suptitle("Photos of digits and predictions; errors (!)")
ax = right.subplots()
ConfusionMatrixDisplay.from_predictions(y_digits, predicted, ax=ax, cmap="Blues", colorbar=False)
for text in ax.texts:
    text.set_visible(text.get_text() != "0")
right.suptitle("All photos")
plt.show()
