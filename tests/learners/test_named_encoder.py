"""Encoders by name: what the libraries compute, loaded once, saved by name, errors with a remedy.

Networks are tiny, with random weights, and lie in folders made here: no test needs a network. Those
of a library that is not installed are skipped; ``make test-encoders`` installs all three.
"""

import copy
import json
import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sklearn_fewshot import (
    FewShotClassifier,
    FrozenEncoder,
    ProtoNetClassifier,
    adapt,
    embed_class_names,
    load_model,
    save_model,
)
from sklearn_fewshot.learners._named_encoder import _load, load_by_name

NAMES = {
    "timm": "timm:resnet18",
    "sentence-transformers": "sentence-transformers:all-MiniLM-L6-v2",
    "open-clip": "open_clip:ViT-B-32/laion2b_s34b_b79k",
}
PACKAGES = {
    "timm": "timm",
    "sentence-transformers": "sentence_transformers",
    "open-clip": "open_clip",
}
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] where is my card loan lost a photo of cat dog ."
TEXTS = ["where is my card", "a photo of a dog .", "loan", "my lost loan", "is my cat lost"]


@pytest.fixture(scope="module")
def timm_name(tmp_path_factory):
    timm = pytest.importorskip("timm")
    folder = tmp_path_factory.mktemp("timm")
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", pretrained=False)
    timm.models.save_for_hf(network, folder)
    return f"timm:local-dir:{folder}"


@pytest.fixture(scope="module")
def sentence_name(tmp_path_factory):
    package = pytest.importorskip("sentence_transformers")
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("bert")
    words = WORDS.split()
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "max_position_embeddings": 32}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(words), **sizes, **layers)).save_pretrained(folder)
    package.SentenceTransformer(str(folder), device="cpu").save(str(folder / "sentences"))
    return f"sentence-transformers:{folder / 'sentences'}"


@pytest.fixture(scope="module")
def clip_name(tmp_path_factory):
    open_clip = pytest.importorskip("open_clip")
    folder = tmp_path_factory.mktemp("clip")
    vision = {"image_size": 32, "patch_size": 16, "layers": 1, "width": 16, "head_width": 8}
    text = {"context_length": 77, "vocab_size": 49408, "layers": 1, "width": 16, "heads": 2}
    sizes = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
    torch.manual_seed(0)
    network = open_clip.CLIP(**copy.deepcopy(sizes))
    torch.save(network.state_dict(), folder / "open_clip_pytorch_model.bin")
    config = {"model_cfg": sizes, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return f"open_clip:local-dir:{folder}"


@pytest.fixture
def photos():
    """Pictures of three colours and several sizes, with their labels."""
    rng = np.random.default_rng(0)
    pictures, labels = [], []
    for k in range(12):
        pixels = rng.integers(0, 60, (30 + k, 50, 3))
        pixels[..., k % 3] += 180
        pictures.append(Image.fromarray(pixels.astype(np.uint8)))
        labels.append(["red", "green", "blue"][k % 3])
    return pictures, np.array(labels)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, and nothing in the cache, as the libraries see it."""
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


# ------------------------------------------------------------------ what comes out


def test_timm_embeds_with_its_own_transform(timm_name, photos, tmp_path):
    timm = pytest.importorskip("timm")
    pictures, _ = photos
    network = timm.create_model(timm_name.removeprefix("timm:"), pretrained=True, num_classes=0)
    transform = timm.data.create_transform(
        **timm.data.resolve_model_data_config(network), is_training=False
    )
    with torch.no_grad():
        expected = network.eval()(torch.stack([transform(picture) for picture in pictures]))
    encoder = FrozenEncoder(timm_name, batch_size=5).fit(pictures)
    assert encoder.input_shape_ == (3, 160, 160)
    np.testing.assert_allclose(encoder.transform(pictures), expected, atol=1e-4)
    paths = [str(tmp_path / f"{k}.png") for k in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    np.testing.assert_array_equal(encoder.transform(paths), encoder.transform(pictures))


def test_arrays_of_8_bits_are_pictures(timm_name):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    encoder = FrozenEncoder(timm_name)
    expected = encoder.transform([Image.fromarray(one) for one in pixels])
    for array in (pixels, np.moveaxis(pixels, -1, 1)):
        np.testing.assert_allclose(encoder.transform(array), expected, atol=1e-6)
    with pytest.raises(
        ValueError, match=r"FrozenEncoder that is an array must .*Got dtype float64"
    ):
        encoder.fit(pixels / 255.0)


def test_a_transform_of_the_user_takes_precedence(timm_name, photos):
    def small(picture):
        return np.moveaxis(np.asarray(picture.resize((32, 32))), -1, 0) / np.float32(255)

    encoder = FrozenEncoder(timm_name, small).fit(photos[0])
    assert encoder.input_shape_ == (3, 32, 32)


def test_grey_pictures_have_three_equal_channels(timm_name, photos):
    grey = [picture.convert("L") for picture in photos[0]]
    expected = FrozenEncoder(timm_name).transform(grey)
    np.testing.assert_array_equal(FrozenEncoder(timm_name, mode="L").transform(photos[0]), expected)


def test_sentences_are_texts_without_being_told(sentence_name):
    package = pytest.importorskip("sentence_transformers")
    network = package.SentenceTransformer(sentence_name.partition(":")[2], device="cpu")
    expected = network.encode(TEXTS)
    encoder = FrozenEncoder(sentence_name, batch_size=2).fit(TEXTS)
    assert encoder.mode == "auto"
    np.testing.assert_allclose(encoder.transform(TEXTS), expected, atol=1e-5)


def test_clip_embeds_pictures_and_texts_at_unit_length(clip_name, photos):
    open_clip = pytest.importorskip("open_clip")
    pictures, _ = photos
    name = clip_name.partition(":")[2]
    clip, transform = open_clip.create_model_from_pretrained(name)
    with torch.no_grad():
        images = clip.encode_image(torch.stack([transform(picture) for picture in pictures]))
        texts = clip.encode_text(open_clip.get_tokenizer(name)(TEXTS))
    for samples, mode, vectors in ((pictures, "auto", images), (TEXTS, "text", texts)):
        expected = vectors / vectors.norm(dim=1, keepdim=True)
        embedding = FrozenEncoder(clip_name, mode=mode, batch_size=4).fit_transform(samples)
        np.testing.assert_allclose(embedding, expected, atol=1e-5)


def test_weights_of_open_clip_may_be_a_file(tmp_path, photos, clip_name):
    open_clip = pytest.importorskip("open_clip")
    folder = Path(clip_name.removeprefix("open_clip:local-dir:"))
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    (tmp_path / "tiny-clip.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")
    by_file = f"open_clip:tiny-clip/{folder}/open_clip_pytorch_model.bin"
    expected = FrozenEncoder(clip_name).transform(photos[0])
    np.testing.assert_allclose(FrozenEncoder(by_file).transform(photos[0]), expected, atol=1e-5)


def test_prompts_are_averaged_over_templates(clip_name, photos):
    templates = ["a photo of a {}.", "a drawing of a {}."]
    names = {"c": "cat", "d": ["dog", "hound"]}
    attributes = embed_class_names(names, clip_name, templates=templates)
    encode = FrozenEncoder(clip_name, mode="text").transform
    for label, some in (("c", ["cat"]), ("d", ["dog", "hound"])):
        mean = encode([t.format(name) for name in some for t in templates]).mean(axis=0)
        expected = mean / np.linalg.norm(mean)
        np.testing.assert_allclose(attributes.of([label])[0], expected, atol=1e-5)
    of_pictures = FrozenEncoder(clip_name).set_output(transform="pandas").fit(photos[0])
    again = embed_class_names(names, of_pictures, templates=templates)
    np.testing.assert_array_equal(again.matrix, attributes.matrix)
    # Without any training, the name that is nearest to a picture:
    classifier = FewShotClassifier().fit(attributes.matrix, attributes.labels)
    pictures = FrozenEncoder(clip_name).transform(photos[0])
    nearest = attributes.labels[(pictures @ attributes.matrix.T).argmax(axis=1)]
    np.testing.assert_array_equal(classifier.predict(pictures), nearest)


# ------------------------------------------------------------------ loaded once


def test_encoders_clones_and_threads_share_one_network(timm_name, photos):
    _load.cache_clear()
    encoder = FrozenEncoder(timm_name)
    assert _load.cache_info().misses == 0  # a constructor loads nothing
    copies = [encoder, FrozenEncoder(timm_name, batch_size=3), clone(encoder), copy.copy(encoder)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda it: it.fit_transform(photos[0]), copies))
    assert _load.cache_info().misses == 1
    for result in results:
        np.testing.assert_allclose(result, results[0], atol=1e-5)
    assert load_by_name(timm_name, "RGB", "auto") is load_by_name(timm_name, "RGB", "cpu") or (
        torch.cuda.is_available()
    )


def test_threads_embed_texts(sentence_name, clip_name):
    for name in (sentence_name, clip_name):
        encoder = FrozenEncoder(name, mode="text")
        samples = [TEXTS[k:] for k in range(len(TEXTS))] * 10
        expected = encoder.transform(TEXTS)
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(encoder.transform, samples))
        for result in results:
            np.testing.assert_allclose(result, expected[-len(result) :], atol=1e-5)


def test_a_search_goes_over_names(timm_name, clip_name, photos):
    pipeline = make_pipeline(FrozenEncoder(), KNeighborsClassifier(1))
    grid = {"frozenencoder__module": [timm_name, clip_name]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(*photos)
    assert search.best_params_["frozenencoder__module"] in (timm_name, clip_name)
    assert search.best_score_ > 0.6
    assert search.best_estimator_[0].get_params()["module"].startswith(("timm:", "open_clip:"))


# ------------------------------------------------------------------ saved by name


def test_pickles_hold_the_name_and_no_weights(timm_name, photos):
    encoder = FrozenEncoder(timm_name).fit(photos[0])
    pickled = pickle.dumps(encoder)
    assert len(pickled) < 2000
    loaded = pickle.loads(pickled)
    assert loaded.module == timm_name
    assert joblib.hash(loaded) == joblib.hash(encoder)
    np.testing.assert_array_equal(loaded.transform(photos[0]), encoder.transform(photos[0]))


def test_model_files_hold_the_name_and_no_weights(clip_name, photos, tmp_path):
    pictures, labels = photos
    learner = ProtoNetClassifier(max_epochs=1, n_shot=1, validation_fraction=0, random_state=0)
    pipeline = make_pipeline(FrozenEncoder(clip_name), learner).fit(pictures, labels)
    classifier = adapt(pipeline, pictures[:6], labels[:6])
    for name, fitted in (("pipeline", pipeline), ("classifier", classifier)):
        save_model(fitted, tmp_path / name)
        save_model(fitted[-1], tmp_path / "last")
        sizes = [os.path.getsize(tmp_path / file) for file in (name, "last")]
        assert sizes[0] - sizes[1] < 10_000  # the network has 3 MB
        loaded = load_model(tmp_path / name)
        np.testing.assert_array_equal(loaded.predict(pictures), fitted.predict(pictures))
    assert clip_name.encode() in (tmp_path / "pipeline").read_bytes()


def test_a_pipeline_with_memory_finds_a_name_again(timm_name, photos, tmp_path):
    pipeline = make_pipeline(
        FrozenEncoder(timm_name), KNeighborsClassifier(1), memory=str(tmp_path)
    )
    pipeline.fit(*photos)
    _load.cache_clear()
    make_pipeline(FrozenEncoder(timm_name), KNeighborsClassifier(2), memory=str(tmp_path)).fit(
        *photos
    )
    assert _load.cache_info().misses == 0


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resnet18", None),
        ("huggingface:bert", None),
        ("timm:", None),
        ("openclip:ViT-B-32/openai", "open_clip:ViT-B-32/openai"),
        ("sentence_transformers:all-MiniLM-L6-v2", NAMES["sentence-transformers"]),
        ("TIMM:resnet18", "timm:resnet18"),
    ],
)
def test_a_name_without_a_library_is_an_error_that_lists_them(name, meant):
    with pytest.raises(ValueError, match="must begin with its library") as error:
        FrozenEncoder(name).fit(["a.png"])
    assert all(repr(example) in str(error.value) for example in NAMES.values())
    assert f"Got {name!r}" in str(error.value)
    assert ("Did you mean" in str(error.value)) == (meant is not None)
    assert repr(meant) in str(error.value) or meant is None


def test_a_failing_network_is_called_by_its_name(timm_name, photos):
    def one_channel(picture):
        return np.zeros((1, 32, 32), dtype=np.float32)

    with pytest.raises(ValueError, match=r"The network 'timm:.* failed on a batch of shape \(1, 1"):
        FrozenEncoder(timm_name, one_channel).fit(photos[0])


@pytest.mark.parametrize("extra", NAMES)
def test_a_missing_library_is_an_error_that_says_how_to_install_it(extra, monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGES[extra], None)
    X = TEXTS if extra == "sentence-transformers" else np.zeros((2, 3, 4, 4), dtype=np.uint8)
    _load.cache_clear()
    for method in ("fit", "transform"):
        with pytest.raises(ImportError, match=rf'needs {extra} .* "sklearn-fewshot\[{extra}\]"'):
            getattr(FrozenEncoder(NAMES[extra]), method)(X)


@pytest.mark.parametrize(
    ("extra", "mode", "takes"),
    [("timm", "text", "pictures"), ("sentence-transformers", "RGB", "texts")],
)
def test_a_mode_that_does_not_fit_the_network_is_an_error(extra, mode, takes):
    with pytest.raises(ValueError, match=rf"takes {takes}\. Got mode='{mode}'.*open_clip"):
        FrozenEncoder(NAMES[extra], mode=mode).fit(TEXTS)


@pytest.mark.parametrize(
    ("extra", "name", "message"),
    [
        ("timm", "timm:resnet81", "'resnet81', which is no network .* Did you mean .*'resnet"),
        ("timm", "timm:resnet18.a9_in1k", r"Did you mean .*'resnet18\.a1_in1k'"),
        ("timm", "timm:owner/resnet", "'timm:hf-hub:OWNER/NAME' is a repository"),
        ("open-clip", "open_clip:ViT-B-23/openai", "'ViT-B-23', .* Did you mean .*'ViT-B-32'"),
        ("open-clip", "open_clip:ViT-B-32/opnai", "'opnai', .* Did you mean 'openai'"),
        ("open-clip", "open_clip:ViT-B-32", "ViT-B-32/WEIGHTS', with a file or one of: openai"),
    ],
)
def test_unknown_names_are_errors_with_similar_ones(extra, name, message, photos):
    pytest.importorskip(PACKAGES[extra])
    with pytest.raises(ValueError, match=message):
        FrozenEncoder(name).fit(photos[0])


@pytest.mark.parametrize(
    ("extra", "name"),
    [
        ("timm", "timm:test_vit"),
        ("timm", "timm:hf-hub:owner/nothing"),
        ("timm", "timm:local-dir:nowhere"),
        ("sentence-transformers", "sentence-transformers:all-MiniLM-L6-v2"),
        ("sentence-transformers", "sentence-transformers:/nowhere/at/all"),
        ("open-clip", "open_clip:ViT-B-32/laion2b_s34b_b79k"),
        ("open-clip", "open_clip:hf-hub:owner/nothing"),
        ("open-clip", "open_clip:local-dir:nowhere"),
    ],
)
def test_without_network_and_cache_the_error_says_what_to_do(extra, name, photos, request):
    pytest.importorskip(PACKAGES[extra])
    request.getfixturevalue("offline")
    X = TEXTS if extra == "sentence-transformers" else photos[0]
    encoder = FrozenEncoder(name)
    with pytest.raises(OSError, match=r"Without a network, .* HF_HOME; .* a folder") as error:
        encoder.fit(X)
    assert f"could not load {name!r}" in str(error.value)
    assert error.value.__cause__ is not None
    assert not hasattr(encoder, "input_shape_")
