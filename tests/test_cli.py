"""The command line: from folders of photos to a model, new classes and predictions."""

import csv
import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from sklearn_fewshot import FewShotClassifier, ProtoNetClassifier, load_model, save_model
from sklearn_fewshot._cli import main

COLORS = {
    "red": (200, 0, 0),
    "green": (0, 200, 0),
    "blue": (0, 0, 200),
    "cyan": (0, 200, 200),
    "grey": (90, 90, 90),
    "white": (200, 200, 200),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Photos of four old and two new classes, of many sizes."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for number, (name, color) in enumerate(COLORS.items()):
        folder = root / ("old" if number < 4 else "new") / name
        folder.mkdir(parents=True)
        for photo in range(6):
            shape = rng.integers(20, 40, size=2)
            pixels = np.array(color) + rng.integers(0, 50, size=(*shape, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{photo}.png")
    return root


@pytest.fixture(scope="module")
def trained(folders):
    model = folders / "trained.fsl"
    train = ["train", str(folders / "old"), "-o", str(model)]
    assert main([*train, "--size", "16", "--epochs", "2"]) == 0
    return model


@pytest.fixture(scope="module")
def adapted(folders, trained):
    model = folders / "adapted.fsl"
    assert main(["adapt", str(trained), str(folders / "new"), "-o", str(model)]) == 0
    return model


def photos_of(folders, *names):
    return sorted(str(path) for name in names for path in folders.glob(f"*/{name}/*.png"))


def test_new_classes_are_recognised(folders, adapted, capsys):
    files = photos_of(folders, "grey", "white")
    assert main(["predict", str(adapted), *files, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["file"] for row in rows] == files
    right = [row["label"] in row["file"] for row in rows]
    assert np.mean(right) > 0.9
    assert all(0.5 <= float(row["probability"]) <= 1 for row in rows)


def test_the_best_classes_come_in_order(folders, trained, capsys):
    (file, *_) = photos_of(folders, "red")
    assert main(["predict", str(trained), file, "--top", "3", "--csv"]) == 0
    header, row = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header == ["file", *(f"{it}_{k}" for k in (1, 2, 3) for it in ("label", "probability"))]
    labels, proba = load_model(trained).predict_top([file], 3)
    assert row[1::2] == labels[0].tolist()
    np.testing.assert_allclose(np.array(row[2::2], float), proba[0], atol=1e-4)
    assert main(["predict", str(trained), file, "--top", "2"]) == 0
    line = capsys.readouterr().out
    assert line == f"{file}  {labels[0, 0]} {proba[0, 0]:.1%}, {labels[0, 1]} {proba[0, 1]:.1%}\n"


def test_photos_of_no_class_are_rejected(folders, adapted, capsys):
    files = photos_of(folders, "red", "blue")
    options = ["--reject-rate", "0.3", "--csv"]
    assert main(["predict", str(adapted), *files, *options]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    answers = load_model(adapted).predict(files, reject_label="none", reject_rate=0.3)
    assert [row["label"] for row in rows] == answers.tolist()
    assert all((row["probability"] == "") == (row["label"] == "none") for row in rows)
    assert main(["predict", str(adapted), *files, *options, "--top", "2"]) == 1
    assert "leave --top out" in capsys.readouterr().err


def test_a_model_is_adapted_in_place_and_again(folders, trained, tmp_path, capsys):
    model = tmp_path / "model.fsl"
    shutil.copy(trained, model)
    for name in ("grey", "white"):
        shutil.copytree(folders / "new" / name, tmp_path / name / name)
    assert main(["adapt", str(model), str(tmp_path / "grey"), "--include-base"]) == 0
    assert main(["adapt", str(model), str(tmp_path / "white")]) == 0
    assert "knows 6 classes, blue, cyan, green, grey, red, white" in capsys.readouterr().err
    assert set(load_model(model).classes_) == set(COLORS)
    assert main(["adapt", str(model), str(tmp_path / "white"), "--include-base"]) == 1
    assert "--include-base is for the first time" in capsys.readouterr().err


def test_a_model_is_scored_beside_a_baseline(folders, trained, adapted, capsys):
    command = ["evaluate", str(trained), str(folders / "new"), "--episodes", "5", "--ways", "2"]
    assert main(command) == 0
    ours, baseline = capsys.readouterr().out.splitlines()
    assert ours.startswith("this model")
    assert baseline.startswith("nearest neighbour")
    assert all("% (2-way 1-shot, 5 queries, 5 episodes" in line for line in (ours, baseline))
    assert main(["evaluate", str(adapted), str(folders / "new")]) == 1
    assert "has been adapted" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.* too few examples")
@pytest.mark.parametrize("learner", ["auto", "baseline", "relationnet"])
def test_other_learners_and_grey_pictures(learner, folders, tmp_path):
    model = tmp_path / "model.fsl"
    train = ["train", str(folders / "old"), "-o", str(model), "--learner", learner, "--grey"]
    assert main([*train, "--size", "8", "--epochs", "1"]) == 0
    assert load_model(model)[0].mode == "L"
    assert main(["predict", str(model), *photos_of(folders, "red")]) == 0


@pytest.mark.filterwarnings("always")
def test_unreadable_photos_are_left_out_with_a_word(folders, trained, tmp_path, capsys):
    shutil.copytree(folders / "new", tmp_path / "new")
    (tmp_path / "new" / "grey" / "9.png").write_text("no picture")
    assert main(["adapt", str(trained), str(tmp_path / "new"), "-o", str(tmp_path / "m")]) == 0
    assert "fewshot: warning: load_image_folder left out 1 of 13 images" in capsys.readouterr().err


def test_what_is_wrong_is_said_in_a_line(folders, trained, adapted, tmp_path, capsys):
    of_table = tmp_path / "table.fsl"
    save_model(FewShotClassifier().fit([[0.0], [4.0]], ["near", "far"]), of_table)
    new = str(folders / "new")
    for command, message in (
        (["train", "nowhere", "-o", str(tmp_path / "m")], "found no folder 'nowhere'"),
        (["train", new, "-o", str(tmp_path / "no" / "m")], "give a file in a folder that exists"),
        (["train", new, "-o", str(tmp_path)], "give a file in a folder that exists"),
        (["train", new, "-o", str(tmp_path / "m"), "--size", "0"], "'size' parameter"),
        (["adapt", str(tmp_path / "none.fsl"), new], "none.fsl"),
        (["predict", str(trained), "nowhere.png"], "lead to no file, such as 'nowhere.png'"),
        (["predict", str(trained), str(trained)], "cannot read"),
        (["predict", str(folders / "new" / "grey" / "0.png"), "a.png"], "0.png"),
        (["predict", str(of_table), "a.png"], "does not begin with PictureReader"),
        (["predict", str(trained), *photos_of(folders, "red"), "--top", "0"], "'k' parameter"),
        (
            ["predict", str(adapted), *photos_of(folders, "red"), "--reject-rate", "2"],
            "reject_rate",
        ),
    ):
        assert main(command) == 1
        error = capsys.readouterr().err
        assert error.startswith("fewshot: ")
        assert message in error
        assert "Traceback" not in error


def test_what_is_not_understood_has_another_status(capsys):
    for command in ([], ["fly"], ["train", "photos"], ["train", "a", "-o", "b", "--learner", "x"]):
        with pytest.raises(SystemExit) as stopped:
            main(command)
        assert stopped.value.code == 2
    assert "usage: fewshot" in capsys.readouterr().err


COMMAND = [
    sys.executable,
    "-c",
    "import sys; from sklearn_fewshot._cli import main; sys.exit(main())",
]  # as the installed command calls it


def test_a_reader_that_has_seen_enough_is_no_error(folders, adapted):
    """Such as ``head``."""
    process = subprocess.Popen(
        [*COMMAND, "predict", str(adapted), *photos_of(folders, "grey")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 0


def test_it_is_a_process_of_its_own(folders, adapted):
    file = photos_of(folders, "grey")[0]
    command = [*COMMAND, "predict", str(adapted), file, "--csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "file,label,probability"
    assert file in done.stdout


def test_an_interruption_is_no_traceback(monkeypatch, folders, tmp_path, capsys):
    def interrupt(*args, **params):
        raise KeyboardInterrupt

    monkeypatch.setattr(ProtoNetClassifier, "fit", interrupt)
    assert main(["train", str(folders / "old"), "-o", str(tmp_path / "m")]) == 130
    assert capsys.readouterr().err.endswith("fewshot: interrupted\n")
