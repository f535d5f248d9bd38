"""
From a folder of photos to recognising new products
===================================================

A shop has photos of its products, a folder for each. New products arrive with three photos each,
and are to be recognised at once. An encoder embeds the photos, a learner is meta-trained on the
embeddings of the base products, and adapting to the new ones trains nothing.

With the folder of the data sets in ``SKLEARN_FEWSHOT_DATA`` the photos are those of the Grocery
Store Dataset (M. Klasson et al., 2019), at 32 x 32 pixels. Without it, letters replace products:
those of the Georgian script are the new ones.
"""

import os
import tempfile
import time
import unicodedata
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.base import clone

from sklearn_fewshot import (
    BaselineClassifier,
    FewShotClassifier,
    FrozenEncoder,
    ProtoNetClassifier,
    adapt,
    make_fewshot_pipeline,
)
from sklearn_fewshot.datasets import load_image_folder, make_glyphs
from sklearn_fewshot.inspection import EpisodeDisplay
from sklearn_fewshot.model_selection import EpisodeSplit, episodic_score

started = time.perf_counter()

# %%
# The photos
# ----------
#
# Here the photos are written first: ``photos/old/Banana/0001.png`` and so on. The folder is removed
# when the program ends.


def grocery(folder):
    """Return pixels with the channels last, names of products, and which products are new."""
    pixels = np.load(folder / "grocery_32.npz")
    names = np.load(folder / "grocery_features.npz")["class_names"]
    return pixels["images"], names[pixels["y"]], pixels["class_split"][pixels["y"]] == 2


def letters():
    glyphs = make_glyphs(random_state=0)
    names = np.array([unicodedata.name(letter) for letter in glyphs.target])
    return glyphs.images[:, 0], names, glyphs.script == "Georgian"


data = os.environ.get("SKLEARN_FEWSHOT_DATA")
images, products, is_new = grocery(Path(data) / "grocery") if data else letters()
work = tempfile.TemporaryDirectory()
photos = Path(work.name) / "photos"
for k, (pixels, product, new) in enumerate(zip(images, products, is_new, strict=True)):
    folder = photos / ("new" if new else "old") / product
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / f"{k:05d}.png")

# %%
# Reading them takes one line. Photos of different sizes need the argument ``size``.

mode = "RGB" if data else "L"  # letters are grey
old = load_image_folder(photos / "old", mode=mode)
new = load_image_folder(photos / "new", mode=mode)
print(f"{len(old.images)} photos of {len(old.target_names)} base products, {old.images.shape[1:]}")
print(f"{len(new.images)} photos of {len(new.target_names)} new products")

# %%
# The encoder
# -----------
#
# Use a network that was pretrained on a million photos, if you may download one:
#
# .. code-block:: python
#
#     encoder = timm.create_model("resnet18", pretrained=True, num_classes=0)
#     preprocess = timm.data.create_transform(**timm.data.resolve_model_data_config(encoder))
#
# This example downloads nothing, so its encoder is a substitute: four convolutional layers, trained
# here for less than a minute to classify three quarters of the base products. A pretrained network
# was trained on other classes than yours, which is why the last quarter is left out; and it is much
# better than this.

known = old.target_names[np.random.default_rng(0).permutation(len(old.target_names))]
seen = np.isin(old.target, known[: 3 * len(known) // 4])
start = time.perf_counter()
teacher = BaselineClassifier(
    max_epochs=8, episodes_per_epoch=10, validation_fraction=0.0, random_state=0
)
encoder = teacher.fit(old.images[seen], old.target[seen]).module_.backbone
print(f"Training the encoder took {time.perf_counter() - start:.0f} s.\n")

# %%
# The pipeline
# ------------
#
# Its samples are paths: photos are read a batch at a time, so that there may be more of them than
# fit into memory. ``memory=`` caches the embeddings. When the learner is changed and fitted again,
# no photo is read a second time, in this program or the next.

learner = ProtoNetClassifier(max_epochs=8, random_state=0)
pipeline = make_fewshot_pipeline(
    FrozenEncoder(encoder, mode=mode, verbose=1), learner, memory=str(Path(work.name) / "cache")
)
for metric in ("sqeuclidean", "cosine"):
    start = time.perf_counter()
    candidate = clone(pipeline).set_params(protonetclassifier__metric=metric)
    candidate.fit(old.filenames, old.target)
    print(f"Fitted with metric={metric!r} in {time.perf_counter() - start:.1f} s.")
    if metric == "sqeuclidean":
        fitted = candidate

# %%
# New products
# ------------
#
# Adapt to them from three photos each, given as paths, and predict other photos.

episode = EpisodeSplit(1, n_way="all", n_shot=3, n_query=10, random_state=0)
support, query = next(episode.split(new.filenames, new.target))
start = time.perf_counter()
shop = adapt(fitted, new.filenames[support], new.target[support])
seconds = time.perf_counter() - start
print(f"\nAdapted to {len(shop.classes_)} new products in {seconds:.2f} s.")
probability = shop.predict_proba(new.filenames[query])
predicted = shop.classes_[probability.argmax(axis=1)]
print(f"Right for {np.mean(predicted == new.target[query]):.0%} of {len(query)} other photos.\n")

# %%
# One sample of three photos may be lucky. Over many samples, with two baselines: nearest class
# means of the pixels, and of the embeddings.

task = {"n_way": "all", "n_shot": 3, "n_query": 5, "n_episodes": 100}
pixels = new.images.reshape(len(new.images), -1) / 255.0
vectors = fitted[0].set_params(verbose=0).transform(new.images)
means = FewShotClassifier()
for name, estimator, X in (
    ("means of pixels", means, pixels),
    ("means of the embeddings", means, vectors),
    ("the learner on the embeddings", fitted[-1], vectors),
):
    print(f"{name:32s}{episodic_score(estimator, X, new.target, **task)}")

# %%
# Some of the products: their support photos, and the queries predicted as each.

display = EpisodeDisplay.from_predictions(
    new.images[support],
    new.target[support],
    new.images[query],
    predicted,
    y_query=new.target[query],
    confidence=probability.max(axis=1),
    classes=new.target_names[:6],
)
display.figure_.savefig("photos.png", dpi=110, bbox_inches="tight")
work.cleanup()
print(f"\nSee photos.png in this folder. {time.perf_counter() - started:.0f} s in all.")
