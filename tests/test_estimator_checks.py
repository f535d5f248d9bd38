"""scikit-learn's own checks: those for all estimators, and those it keeps for its own."""

import warnings
from importlib.util import find_spec
from unittest import SkipTest

import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import sklearn_fewshot
from sklearn_fewshot import (
    BaselineClassifier,
    FewShotClassifier,
    FewShotRegressor,
    MatchingNetClassifier,
    ProtoNetClassifier,
    make_fewshot_pipeline,
)
from sklearn_fewshot.base import BaseFewShotLearner, BaseFewShotRegressor

BUDGET = {"max_epochs": 2, "episodes_per_epoch": 5, "n_way": 5, "random_state": 0}
BUDGETED = ProtoNetClassifier(**BUDGET)
REGRESSION_BUDGET = {"max_epochs": 2, "episodes_per_epoch": 320, "lr": 1e-2, "random_state": 0}
CHEAPER = {
    "AutoFewShotClassifier": {"estimators": ["linear", "ProtoNet"]},
    "InContextClassifier": {"calibrate": False},
    "MAMLClassifier": {"n_steps": 1, "calibrate": False},
    "MANNClassifier": {"memory_width": 8, "n_reads": 1, "controller_dim": 16, "calibrate": False},
    "MetaNetClassifier": {"hidden_dim": 8, "meta_dim": 4, "calibrate": False},
    "MetaLSTMClassifier": {"n_steps": 2, "hidden_dim": 4, "calibrate": False},
    "ReptileClassifier": {"adapt_steps": 2, "calibrate": False},
    "MAMLRegressor": {"n_steps": 1, "calibrate": False},
    "ReptileRegressor": {
        "n_steps": 2,
        "adapt_steps": 30,
        "meta_batch_size": 64,
        "lr": 1.0,
        "calibrate": False,
    },
}


def subclasses(base):
    exported = [getattr(sklearn_fewshot, name) for name in sklearn_fewshot.__all__]
    return [cls for cls in exported if isinstance(cls, type) and issubclass(cls, base)]


EVERY_REGRESSOR = [
    cls(**REGRESSION_BUDGET | CHEAPER.get(cls.__name__, {}))
    for cls in subclasses(BaseFewShotRegressor)
]
EVERY_LEARNER = [
    *(cls(**BUDGET, **CHEAPER.get(cls.__name__, {})) for cls in subclasses(BaseFewShotLearner)),
    MatchingNetClassifier(fce=True, **BUDGET),
    BaselineClassifier(readout="anchored", **BUDGET),
    *EVERY_REGRESSOR,
]

# The checks train on a handful of rows, of two or three classes, and transform arrays after frames.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.* training classes of .* too few examples:UserWarning"),
    pytest.mark.filterwarnings("ignore:.* training tasks of .* too few samples:UserWarning"),
    pytest.mark.filterwarnings("ignore:.* has no validation (classes|tasks):UserWarning"),
    pytest.mark.filterwarnings("ignore:X .* feature names, but .* was fitted with:UserWarning"),
]

OWN_CHECKS = [
    "check_param_validation",
    "check_get_feature_names_out_error",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_global_output_transform_pandas",
    "check_dataframe_column_names_consistency",
]
POLARS_CHECKS = ["check_set_output_transform_polars", "check_global_set_output_transform_polars"]
FOR_ADAPTED = ["check_param_validation", "check_dataframe_column_names_consistency"]


@pytest.fixture(autouse=True)
def array_api(monkeypatch):
    """Let the checks that ask for this variable run; read when they run."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


def run(check, estimator):
    """Run a check; one that skips itself has not been passed."""
    try:
        check(estimator)
    except SkipTest as skip:
        pytest.fail(f"skipped: {skip}")


@parametrize_with_checks([FewShotClassifier(), FewShotRegressor(), *EVERY_LEARNER])
def test_estimators_pass_every_check(estimator, check):
    run(check, estimator)


def passes(check, estimator):
    try:
        with warnings.catch_warnings(action="ignore"):
            check(estimator)
    except (Exception, SkipTest):
        return False
    return True


@parametrize_with_checks(
    [make_fewshot_pipeline(StandardScaler(), last) for last in (FewShotClassifier(), BUDGETED)]
)
def test_fewshot_pipelines_pass_what_pipelines_pass(estimator, check):
    try:
        check(estimator)
    except (Exception, SkipTest):
        if passes(check, make_pipeline(StandardScaler(), LogisticRegression())):
            raise


UNTRAINED = [clone(learner).set_params(max_epochs=0) for learner in EVERY_LEARNER]  # as good here


@pytest.mark.parametrize("name", OWN_CHECKS + POLARS_CHECKS * bool(find_spec("polars")))
@pytest.mark.parametrize(
    "estimator",
    [*UNTRAINED, make_fewshot_pipeline(StandardScaler(), clone(BUDGETED).set_params(max_epochs=0))],
    ids=lambda estimator: str(estimator).split(",")[0],
)
def test_learners_pass_the_checks_of_scikit_learns_own_estimators(estimator, name):
    with warnings.catch_warnings():
        if name == "check_dataframe_column_names_consistency":  # as scikit-learn runs it
            warnings.filterwarnings("error", message=".*fitted without feature names")
        run(lambda it: getattr(estimator_checks, name)(type(it).__name__, it), estimator)


@pytest.mark.parametrize("name", FOR_ADAPTED)
@pytest.mark.parametrize("estimator", [FewShotClassifier(), FewShotRegressor()])
def test_adapted_ones_pass_the_checks_of_scikit_learns_own_estimators(estimator, name):
    run(lambda it: getattr(estimator_checks, name)(type(it).__name__, it), estimator)
