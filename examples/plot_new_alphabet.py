"""
A new alphabet from one example of each letter
==============================================

Words in a new script are read letter by letter. The support set is one page of a primer: every
letter once, in one typeface.
"""

import matplotlib.pyplot as plt
import numpy as np

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.datasets import make_glyphs

# %%
# Meta-training on Greek, Cyrillic, Armenian and some Latin letters. Within an episode, support and
# queries never share a typeface: ``groups`` are the typefaces.

glyphs = make_glyphs(size=20, n_per_class=24, random_state=0)
X, y, script, face = glyphs.images, glyphs.target, glyphs.script, glyphs.face
rng = np.random.default_rng(0)
latin = rng.choice(np.unique(y[script == "Latin"]), 200, replace=False)
old = np.isin(script, ["Greek", "Cyrillic", "Armenian"]) | np.isin(y, latin)

learner = ProtoNetClassifier(n_way=40, n_shot=1, max_epochs=12, random_state=0)
learner.fit(X[old], y[old], groups=face[old])
print(f"Trained on {len(np.unique(y[old]))} letters.")

# %%
# The primer: the 33 letters of the Georgian alphabet, each once, printed with serifs. A second one
# has two more images of each letter, in other typefaces.

alphabet = list("აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ")
is_serif = np.char.startswith(face, "DejaVuSerif") & ~np.char.endswith(face, "Italic")
primer = [np.flatnonzero((y == letter) & is_serif)[0] for letter in alphabet]
further = []
for letter in alphabet:
    for typeface in ("DejaVuSans-Oblique", "DejaVuSansMono-Bold"):
        further.append(np.flatnonzero((y == letter) & (face == typeface))[0])
readers = {
    "one example": learner.adapt(X[primer], y[primer]),
    "three examples": learner.adapt(X[primer + further], y[primer + further]),
}

# %%
# Words: hello, thank you, Georgia, a letter. Their letters come from the other typefaces.

words = ["გამარჯობა", "მადლობა", "საქართველო", "წერილი"]
meanings = ["hello", "thank you", "Georgia", "letter"]
is_new = ~np.isin(face, [*np.unique(face[is_serif]), *np.unique(face[further])])
rows = [
    np.array([rng.choice(np.flatnonzero((y == letter) & is_new)) for letter in word])
    for word in words
]
rest = np.isin(y, alphabet) & is_new
for name, reader in readers.items():
    print(f"{name} of each letter:")
    for word, row, meaning in zip(words, rows, meanings, strict=True):
        print(f"    {word} ({meaning}) is read as {''.join(reader.predict(X[row]))}")
    accuracy = 100 * reader.score(X[rest], y[rest])
    print(f"    all {rest.sum()} images of other typefaces: {accuracy:.1f} %")

# %%
# The primer above, the words below; wrong predictions are in boxes.

figure = plt.figure(figsize=(10, 8), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=[1, 2])
axes = above.subplots(3, 11)
for ax, row in zip(axes.ravel(), primer, strict=True):
    ax.imshow(X[row, 0], cmap="gray_r")
    ax.set_title(y[row], fontsize="medium", pad=2)
    ax.set_axis_off()
above.suptitle("One example of each letter")

axes = below.subplots(len(words), max(map(len, words)))
for line, row, word, meaning in zip(axes, rows, words, meanings, strict=True):
    for ax in line:
        ax.set_axis_off()
    for ax, image in zip(line, X[row], strict=False):
        ax.imshow(image[0], cmap="gray_r")
    for place, reader in zip((-0.25, -0.65), readers.values(), strict=True):
        for ax, letter, true in zip(line, reader.predict(X[row]), word, strict=False):
            box = None if letter == true else {"facecolor": "0.8", "pad": 2}
            ax.text(
                0.5,
                place,
                letter,
                transform=ax.transAxes,
                ha="center",
                va="center",
                bbox=box,
                size=13,
            )
    line[0].set_title(meaning, loc="left", fontsize="medium", pad=3)
below.suptitle("Words; how they are read after one example (above) and three (below)")
plt.show()
