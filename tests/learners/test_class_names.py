"""Names of classes become attributes: prompts embedded, averaged, of unit length."""

import numpy as np
import pytest

from sklearn_fewshot import FrozenEncoder, ZeroShotProtoNetClassifier, embed_class_names


def count_letters(texts):
    return np.array([[text.count(letter) for letter in "abcde"] for text in texts], dtype=float)


ENCODER = FrozenEncoder(count_letters, mode="text")


def by_hand(names, templates):
    """Average prompts in plain loops."""
    total, n = np.zeros(5), 0
    for name in names:
        for template in templates:
            (row,) = count_letters([template.replace("{}", name)])
            total, n = total + row / np.sqrt((row**2).sum()), n + 1
    mean = total / n
    return mean / np.sqrt((mean**2).sum())


@pytest.mark.parametrize("templates", ["{}", "a {}.", ["a {}.", "bad {}", "the code of {}"]])
def test_prompts_are_averaged_by_class(templates):
    names = {3: "cab", 1: ["bead", "dead", "add"], 2: ["cede"]}
    attributes = embed_class_names(names, ENCODER, templates=templates)
    assert attributes.labels.tolist() == [1, 2, 3]
    sentences = [templates] if isinstance(templates, str) else templates
    for label, some in names.items():
        expected = by_hand([some] if isinstance(some, str) else some, sentences)
        np.testing.assert_allclose(attributes.of([label])[0], expected, rtol=1e-6)


def test_names_are_labels_where_they_stand_alone():
    attributes = embed_class_names(["dead", "cab"], ENCODER)
    assert attributes.labels.tolist() == ["cab", "dead"]
    by_label = embed_class_names({"cab": "cab", "dead": "dead"}, ENCODER)
    np.testing.assert_array_equal(attributes.matrix, by_label.matrix)


def test_braces_of_a_name_or_template_mean_nothing():
    attributes = embed_class_names(["{0} cab"], ENCODER, templates="{a} {}")
    np.testing.assert_allclose(attributes.matrix[0], by_hand(["{0} cab"], ["{a} {}"]))


def test_a_name_without_any_feature_is_zero_and_no_warning():
    assert not embed_class_names(["xyz"], ENCODER).matrix.any()


def test_zero_shot_learners_take_them():
    names = ["aab", "bbc", "ccd", "dde", "aee", "abc"]
    rng = np.random.default_rng(0)
    y = np.repeat(names, 20)
    X = count_letters(y) + rng.normal(scale=0.1, size=(len(y), 5))
    attributes = embed_class_names(names, ENCODER)
    is_new = np.isin(y, ["abc", "dde"])
    learner = ZeroShotProtoNetClassifier(max_epochs=3, calibrate=False, random_state=0)
    learner.fit(X[~is_new], y[~is_new], class_attributes=attributes)
    adapted = learner.adapt(class_attributes=embed_class_names(["abc", "dde"], ENCODER))
    assert adapted.score(X[is_new], y[is_new]) > 0.9


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ("eagle", TypeError, "names of all classes. Got 'eagle' alone"),
        ([1, 2], TypeError, "must be strings. Got 1|not iterable"),
        ({1: ["a", 2]}, TypeError, r"must be strings. Got \['a', 2\] for class 1"),
        ([], ValueError, "a name for each class. Got no classes"),
        ({1: "a", 2: []}, ValueError, "Got none for class 2"),
        (["cab", "cab"], ValueError, "once"),
    ],
)
def test_what_are_no_names(names, error, message):
    with pytest.raises(error, match=message):
        embed_class_names(names, ENCODER)


@pytest.mark.parametrize("templates", [[], ["a photo"], "a photo of", ["a {}", 3]])
def test_templates_need_a_place_for_the_name(templates):
    with pytest.raises(ValueError, match=r"'templates' .* \{\} in place of the name"):
        embed_class_names(["cab"], ENCODER, templates=templates)
