"""Contents of the API reference: every public name, in the order of reading.

A new name is one line in its group; ``tests/test_reference.py`` fails until it is there.
"""

from typing import NamedTuple


class Group(NamedTuple):
    """Names of one module that belong together."""

    title: str
    names: tuple[str, ...]
    text: str = ""


class Page(NamedTuple):
    """A module and its groups."""

    module: str
    text: str
    groups: tuple[Group, ...]


PAGES = (
    Page(
        "sklearn_fewshot",
        "Learners, adapted classifiers, pipelines and files.",
        (
            Group(
                "Learners",
                (
                    "AutoFewShotClassifier",
                    "ProtoNetClassifier",
                    "MatchingNetClassifier",
                    "RelationNetClassifier",
                    "SiameseNetClassifier",
                    "RidgeNetClassifier",
                    "BaselineClassifier",
                ),
                "``fit`` meta-trains on base classes; ``adapt`` makes a classifier of new ones.",
            ),
            Group(
                "Learners that adapt their own weights",
                ("MAMLClassifier", "ReptileClassifier", "MetaLSTMClassifier"),
                "``adapt`` trains the network, or its last layer, on the examples of new classes.",
            ),
            Group(
                "Learners that read the support set",
                ("InContextClassifier", "MANNClassifier", "MetaNetClassifier"),
                "A network reads the examples: by attention, into a memory, or as gradients.",
            ),
            Group(
                "Zero-shot learners",
                (
                    "ZeroShotProtoNetClassifier",
                    "ZeroShotRelationNetClassifier",
                    "ClassAttributes",
                    "embed_class_names",
                ),
                "New classes are represented by attributes instead of examples.",
            ),
            Group(
                "Regressors",
                (
                    "RidgeNetRegressor",
                    "NeuralProcessRegressor",
                    "MAMLRegressor",
                    "ReptileRegressor",
                ),
                "Tasks take the place of classes: ``adapt`` makes a regressor of a new one.",
            ),
            Group("Adaptation", ("adapt", "FewShotClassifier", "FewShotRegressor")),
            Group(
                "Pipelines",
                ("FewShotPipeline", "make_fewshot_pipeline", "PictureReader", "FrozenEncoder"),
            ),
            Group(
                "Files",
                (
                    "save_model",
                    "load_model",
                    "load_pretrained",
                    "model_card",
                    "export_onnx",
                    "ModelFormatError",
                ),
            ),
        ),
    ),
    Page(
        "sklearn_fewshot.model_selection",
        "How good is it on new classes? Scores over episodes, and class-disjoint splits.",
        (
            Group(
                "Scores over episodes",
                ("episodic_score", "EpisodicResult", "OpenSetResult", "Interval", "EpisodicScorer"),
            ),
            Group(
                "Comparison",
                (
                    "compare_on_episodes",
                    "EpisodicComparison",
                    "episodic_cross_validate",
                    "EpisodicCrossValidation",
                ),
            ),
            Group("Curves", ("shot_curve", "ShotCurve", "class_learning_curve")),
            Group(
                "Base and new classes together",
                (
                    "generalized_episodic_score",
                    "GeneralizedResult",
                    "generalized_accuracy",
                    "GeneralizedAccuracy",
                ),
            ),
            Group(
                "Splitters",
                ("ClassKFold", "ClassShuffleSplit", "EpisodeSplit", "FrozenEpisodes"),
            ),
            Group("Regression", ("task_score", "task_baselines", "TaskSplit")),
            Group("Duplicates", ("duplicate_groups",)),
        ),
    ),
    Page(
        "sklearn_fewshot.datasets",
        "Data sets of many classes with few examples each.",
        (
            Group("Data sets", ("make_glyphs", "make_sinusoids", "fetch_omniglot")),
            Group("Your data", ("load_image_folder", "load_images", "pad_series")),
        ),
    ),
    Page(
        "sklearn_fewshot.inspection",
        "Displays in scikit-learn's manner: ``from_estimator`` computes and draws, ``plot`` draws "
        "again. They need matplotlib.",
        (
            Group(
                "Episodes",
                ("EpisodeDisplay", "EmbeddingDisplay", "AttentionDisplay", "TaskDisplay"),
            ),
            Group("Training and scores", ("TrainingDisplay", "ShotCurveDisplay")),
            Group("Comparisons", ("EpisodeScoresDisplay",)),
            Group("Verification", ("PairRocDisplay",)),
            Group(
                "Confidence and rejection",
                ("ReliabilityDisplay", "RejectionDisplay", "RiskCoverageDisplay"),
            ),
        ),
    ),
    Page(
        "sklearn_fewshot.base",
        "For authors of learners: [a page](../extending.md) writes one.",
        (
            Group("Learners", ("BaseFewShotLearner", "CommonParameters", "with_common_parameters")),
            Group("Regressors", ("BaseFewShotRegressor", "CommonRegressorParameters")),
        ),
    ),
    Page(
        "sklearn_fewshot.nn",
        "For authors of learners and networks: the parts in PyTorch. Users of the learners need "
        "none of them by name.",
        (
            Group(
                "Modules",
                (
                    "FewShotModule",
                    "EmbeddingModule",
                    "ClassifierModule",
                    "CosineClassifier",
                    "SequenceModule",
                    "EmbedsRows",
                    "Joins",
                ),
            ),
            Group(
                "Several networks as one",
                ("PooledModule", "PooledMember", "PooledHead", "Parallel"),
            ),
            Group(
                "Values",
                (
                    "Support",
                    "to_state",
                    "from_state",
                    "EpisodeBatch",
                    "SampleBatch",
                    "is_padding",
                    "take_rows",
                ),
            ),
            Group(
                "Losses",
                (
                    "EpisodicCrossEntropy",
                    "BalancedPairCrossEntropy",
                    "PairSquaredError",
                    "log_loss_factor",
                ),
            ),
            Group("Distances", ("METRICS", "get_metric")),
            Group(
                "Classes",
                ("class_sums", "class_means", "class_mean", "class_max", "class_logsumexp"),
            ),
            Group("Augmentation", ("AUGMENTATIONS", "resolve_augmentation")),
            Group(
                "Loading and evaluating",
                (
                    "DataTensor",
                    "EpisodeLoader",
                    "SampleLoader",
                    "ValidationEpisodes",
                    "collate",
                    "collate_rotated",
                    "predict_episodes",
                    "episode_loss",
                    "presentation",
                    "score_plan",
                    "evaluate",
                    "over_stored_rows",
                    "with_values",
                    "to_device",
                ),
            ),
            Group("Embedding", ("embed", "evaluating", "evaluation_view", "chunk_sizes", "chunks")),
            Group(
                "Hardware",
                (
                    "resolve_device",
                    "resolve_precision",
                    "autocast",
                    "kept_memory",
                    "says_what_to_lower",
                ),
            ),
        ),
    ),
    Page(
        "sklearn_fewshot.nn.backbones",
        "From a batch of samples to a batch of embeddings.",
        (
            Group(
                "Networks",
                (
                    "ResidualMLP",
                    "MLP",
                    "Spectral",
                    "SeriesFeatures",
                    "Conv4",
                    "Conv4Strided",
                    "Conv4Maps",
                    "ResNet12",
                    "KochConv",
                    "Identity",
                    "Frozen",
                    "mask_padding",
                ),
            ),
            Group(
                "Choice",
                (
                    "BACKBONES",
                    "auto_backbone",
                    "make_backbone",
                    "n_parameters",
                    "embedding_shape",
                    "starts_from_features",
                    "has_linear_start",
                    "takes_any_length",
                    "distances_mean_something",
                ),
            ),
        ),
    ),
    Page(
        "sklearn_fewshot.nn.heads",
        "From embedded support and queries to scores.",
        (
            Group("The contract", ("Head", "MetricHead", "UnitLengthHead")),
            Group(
                "Heads",
                (
                    "PrototypicalHead",
                    "MatchingHead",
                    "FullContextHead",
                    "RelationHead",
                    "SiameseHead",
                    "RidgeHead",
                    "AnchoredHead",
                    "GradientHead",
                    "InContextHead",
                    "MemoryHead",
                    "MetaNetHead",
                    "CentroidHead",
                    "AnchoredCentroidHead",
                ),
            ),
            Group("Heads for attributes", ("AttributePrototypeHead", "AttributeRelationHead")),
        ),
    ),
    Page(
        "sklearn_fewshot.nn.regression",
        "Heads and loss of few-shot regression.",
        (
            Group("Heads", ("BayesianRidgeHead", "NeuralProcessHead")),
            Group("Loss", ("GaussianLoss", "split_values")),
        ),
    ),
    Page(
        "sklearn_fewshot.nn.optimization",
        "Networks whose weights are adapted to the support set.",
        (
            Group(
                "Modules",
                ("AdaptingModule", "GradientModule", "ReptileModule", "MetaLSTMModule"),
            ),
            Group("Batch normalisation", ("TaskNorm", "with_task_norm")),
        ),
    ),
    Page(
        "sklearn_fewshot.nn.memory",
        "External memories that networks read and write.",
        (
            Group(
                "Networks",
                ("LeastUsedMemory", "MemoryState", "Writing", "NeuralTuringMachine", "TuringState"),
            ),
            Group(
                "Addressing",
                ("Addressing", "content_weights", "interpolate", "shift", "sharpen"),
                "How the heads of a Neural Turing Machine choose slots.",
            ),
        ),
    ),
)

# What is neither a class nor a function has no docstring of its own.
DATA = {
    "sklearn_fewshot.nn.METRICS": """\
Distance functions by the names that ``metric`` takes.

>>> from sklearn_fewshot.nn import METRICS
>>> sorted(METRICS)
['cityblock', 'cosine', 'euclidean', 'sqeuclidean']
""",
    "sklearn_fewshot.nn.AUGMENTATIONS": """\
Augmentations by the names that ``augment`` takes.

>>> from sklearn_fewshot.nn import AUGMENTATIONS
>>> sorted(AUGMENTATIONS)
['affine']
""",
    "sklearn_fewshot.nn.backbones.BACKBONES": """\
Networks by the names that ``backbone`` takes.

>>> from sklearn_fewshot.nn.backbones import BACKBONES
>>> BACKBONES["conv4"]
<class 'sklearn_fewshot.nn.backbones._conv.Conv4'>
""",
}
