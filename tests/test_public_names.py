"""What users may rely on: public names, each with a page, an example and a signature."""

import inspect
import re
import types
from pathlib import Path

import pytest

import keras_trainsteps
from keras_trainsteps import data, losses, metrics, penalties, plots, rolling, sklearn
from keras_trainsteps.losses import lambda_weights

PACKAGES = [
    keras_trainsteps,
    losses,
    lambda_weights,
    metrics,
    penalties,
    data,
    plots,
    rolling,
    sklearn,
]


def public(module):
    return sorted(name for name in vars(module) if not name.startswith("_") and name[0].isupper())


def test_the_package():
    assert public(keras_trainsteps) == [
        "Ema",
        "ForObjective",
        "LossAwareModel",
        "LossAwareSequential",
        "LossTerm",
        "LossWeightScheduler",
        "Objective",
        "Queue",
        "TermProgress",
    ]
    assert keras_trainsteps.__version__ == "0.2.0"


def test_the_shelves():
    assert {"NDCG", "PairAccuracy"} <= set(public(keras_trainsteps.metrics))
    assert callable(plots.plot_history)


def test_losses():
    assert losses.__all__ == [
        "ApproxMRR",
        "ApproxNDCG",
        "Contrastive",
        "InfoNCE",
        "LabelLoss",
        "ListMLE",
        "MarginLoss",
        "MaskedCrossentropy",
        "MeanSquaredError",
        "MinedTriplet",
        "MultiSimilarity",
        "NTXent",
        "OutputsLoss",
        "PairwiseHinge",
        "PairwiseLogistic",
        "PairwiseMeanSquaredError",
        "PairwiseSoftZeroOne",
        "PairwiseSquaredHinge",
        "PositionBias",
        "RankingLoss",
        "SideInputLoss",
        "SigmoidCrossentropy",
        "Softmax",
        "SupervisedContrastive",
        "Triplet",
        "UniqueSoftmax",
        "approx_mrr",
        "approx_ndcg",
        "contrastive",
        "estimate_propensities",
        "expected_count",
        "gradient_penalty",
        "gumbel",
        "info_nce",
        "inverse_propensity_weights",
        "lambda_weights",
        "list_mle",
        "margin_loss",
        "masked_crossentropy",
        "mean_squared_error",
        "mined_triplet",
        "multi_similarity",
        "nt_xent",
        "pairwise_hinge",
        "pairwise_logistic",
        "pairwise_mean_squared_error",
        "pairwise_soft_zero_one",
        "pairwise_squared_hinge",
        "sampling_probability",
        "sigmoid_crossentropy",
        "softmax",
        "supervised_contrastive",
        "triplet",
        "unique_softmax",
        "with_gumbel",
    ]


def test_penalties_and_data():
    assert penalties.__all__ == [
        "L2SP",
        "Penalty",
        "TrainableCoefficient",
        "UncertaintyWeighting",
        "WeightPenalty",
        "group_lasso",
        "orthogonality",
        "sum_of_norms",
        "tying",
    ]
    assert data.__all__ == [
        "ROW_MASK",
        "BatchOrder",
        "ByClass",
        "ByLength",
        "TopK",
        "WithNegatives",
        "groups_of_ids",
        "ids_of_groups",
        "of_rows",
        "ordered_batches",
        "padding_of",
        "query_batches",
        "split_by_query",
        "top_k",
    ]


def members(package):
    """The functions and classes that a package makes public."""
    found = {name: getattr(package, name) for name in package.__all__}
    return {name: value for name, value in found.items() if callable(value)}


def callables(public):
    """A function itself; of a class its constructor and its public methods."""
    if not inspect.isclass(public):
        return {"": public}
    ours = [base for base in public.__mro__ if base.__module__.startswith("keras_trainsteps")]
    methods = {name: value for base in reversed(ours) for name, value in vars(base).items()}
    return {"": public} | {
        f".{name}": getattr(public, name)
        for name, value in methods.items()
        if not name.startswith("_")
        and isinstance(value, types.FunctionType | classmethod | staticmethod)
    }


PUBLIC = {
    f"{package.__name__}.{name}": value
    for package in PACKAGES
    for name, value in members(package).items()
}
every = pytest.mark.parametrize("value", PUBLIC.values(), ids=PUBLIC)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_help_shows_the_public_names(package):
    assert package.__doc__
    assert len(set(package.__all__)) == len(package.__all__)
    assert set(package.__all__) <= set(dir(package))
    assert package.__all__ == sorted(package.__all__, key=_constants_classes_functions)


def _constants_classes_functions(name):
    return (not name.isupper(), name)


@every
def test_a_page_has_an_example_that_runs(value):
    """That it runs, and prints what it says, is tested with all docstrings."""
    page = inspect.getdoc(value) if inspect.isfunction(value) else value.__dict__["__doc__"]
    assert "\n" in page
    assert "Example:" in page
    assert re.search(r"^\s*>>> ", page, re.MULTILINE)


@every
def test_signatures_say_what_is_taken(value):
    for name, function in callables(value).items():
        for parameter in inspect.signature(function).parameters.values():
            vague = (
                parameter.name in ("args", "kwargs") or parameter.kind is parameter.VAR_KEYWORD
            )
            annotation = parameter.annotation
            assert not vague, f"{name}({parameter})"
            if parameter.name not in ("self", "cls"):
                assert annotation not in ("Any", parameter.empty), f"{name}({parameter})"


def test_each_has_one_place_in_the_documentation():
    directive = re.compile(r"^\.\. (currentmodule|autoclass|autofunction):: (\S+)", re.MULTILINE)
    listed = []
    for page in (Path(__file__).parents[1] / "docs" / "api").glob("*.md"):
        module = None
        for kind, name in directive.findall(page.read_text(encoding="utf-8")):
            if kind == "currentmodule":
                module = name
            else:
                listed.append(
                    name if name.startswith("keras_trainsteps.") else f"{module}.{name}"
                )
    assert sorted(listed) == sorted(
        f"{p.__name__}.{name}" for p in PACKAGES for name in members(p)
    )
