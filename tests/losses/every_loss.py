"""The one list of all losses, with hypothesis-made batches for each.

A batch is a dict of columns, by the names of the function's arguments. All columns have one
entry a row; a row is an item of a query, a labelled example, a triplet or pair of outputs, or
a sequence.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from keras_trainsteps import losses
from keras_trainsteps.losses import lambda_weights
from tests.losses.labelled import embedding_batches
from tests.losses.rows import row_batches

CLASSES = 3


class Case(NamedTuple):
    """A loss and what holds for it.

    Attributes:
        function: The loss, as a function.
        cls: The loss, as a class for `compile`.
        options: Options of both.
        of: What its rows are: `"queries"`, `"labels"`, `"outputs"` or `"sequences"`.
        batches: A strategy for batches.
        adds_up: Whether a batch is the sum of its queries or rows.
        frequency: Whether a weight of 2 is a row twice.
        ulps: Of float32, by which its value may differ from float64.
    """

    function: Callable[..., Any]
    cls: type
    options: dict[str, Any]
    of: str
    batches: Any
    adds_up: bool
    frequency: bool
    ulps: float = 1.0

    @property
    def takes(self):
        """The columns with a gradient."""
        return getattr(self.cls, "takes", ("y_pred",))

    def term(self, batch):
        return self.function(**batch, **self.options)

    def run(self, batch):
        """Total, count, and the gradient of the total, whose first axis is that of the rows."""
        return [np.asarray(part) for part in self.traced(batch)]

    def traced(self, batch):
        batch = {name: tf.convert_to_tensor(value) for name, value in batch.items()}
        outputs = [batch[name] for name in self.takes]
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            term = self.term(batch)
        slopes = tape.gradient(term.total, outputs, unconnected_gradients="zero")
        slopes = [tf.convert_to_tensor(slope) for slope in slopes]
        return term.total, term.count, slopes[0] if len(slopes) == 1 else tf.concat(slopes, -1)


def rows_of(batch):
    return len(batch["mask"])


def select(batch, rows):
    """The rows of the given numbers, in their order."""
    return {name: value[np.asarray(rows, int)] for name, value in batch.items()}


def hidden(case, batch, kept):
    """The batch with NaN in all outputs, and in the labels, of the rows that are not kept."""
    found = dict(batch)
    for name in case.takes:
        nan = np.where(kept, 0.0, np.nan)
        found[name] = batch[name] + nan.reshape(-1, *[1] * (batch[name].ndim - 1))
    if case.of == "queries":
        found["y_true"] = np.where(kept, batch["y_true"], np.nan)
    return found


@st.composite
def outputs(draw, names):
    batch = draw(embedding_batches(copies=len(names)))
    columns = dict(zip(names, batch.y_pred, strict=True))
    return columns | {"mask": batch.mask, "sample_weight": batch.sample_weight}


@st.composite
def sequences(draw):
    b, t = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return {
        "y_true": rng.integers(0, CLASSES, (b, t)),
        "y_pred": rng.normal(size=(b, t, CLASSES)),
        "mask": rng.random((b, t)) < draw(st.sampled_from([0.5, 0.9])),
        "sample_weight": rng.integers(0, 4, (b, t)) / 2,
    }


def by_query(function, cls, ulps=1.0, *, frequency=False, **options):
    # Distinct labels: the tie rule of ListMLE is the order of the rows.
    batches = row_batches(distinct_labels=function is losses.list_mle)
    batches = batches.map(lambda batch: batch._asdict())
    return Case(function, cls, options, "queries", batches, True, frequency, ulps)


def by_label(function, cls, ulps=1.0, **options):
    batches = embedding_batches().map(lambda batch: batch._asdict())
    return Case(function, cls, options, "labels", batches, False, False, ulps)


def of_outputs(function, cls, ulps=1.0, *, adds_up=False, **options):
    return Case(function, cls, options, "outputs", outputs(cls.takes), adds_up, adds_up, ulps)


def by_token(**options):
    function, cls = losses.masked_crossentropy, losses.MaskedCrossentropy
    # 4 ulps of the largest logit, 5, a token: what the fused op itself loses.
    return Case(function, cls, options, "sequences", sequences(), True, True, ulps=320.0)


def without_ties(batch):
    """Ranks by score, which lambda weights use, depend on the order of rows where it ties."""
    return batch | {"y_pred": batch["y_pred"] + np.pi / 7 * np.arange(rows_of(batch))}


pairwise = functools.partial(by_query, ulps=20.0)
lambda_rank = pairwise(
    losses.pairwise_logistic,
    losses.PairwiseLogistic,
    lambda_weight=lambda_weights.NDCG(k=3),
)
first_rows = pairwise(
    losses.pairwise_logistic,
    losses.PairwiseLogistic,
    pairs="ordered",
    lambda_weight=lambda_weights.NDCG1(k=3, gains="linear"),
)
by_rank = by_query(losses.softmax, losses.Softmax, labels=lambda_weights.NDCG(k=3))
neighbours = pairwise(
    losses.pairwise_logistic,
    losses.PairwiseLogistic,
    lambda_weight=lambda_weights.YetiDCG(k=2, gains="linear"),
)
CASES = {
    "pairwise_logistic": pairwise(
        losses.pairwise_logistic, losses.PairwiseLogistic, frequency=True
    ),
    "pairwise_logistic, all pairs": pairwise(
        losses.pairwise_logistic, losses.PairwiseLogistic, pairs="all"
    ),
    "pairwise_logistic, by query": pairwise(
        losses.pairwise_logistic, losses.PairwiseLogistic, normalize="queries"
    ),
    "pairwise_logistic, by row": pairwise(
        losses.pairwise_logistic,
        losses.PairwiseLogistic,
        normalize="rows",
        pair_weight="preferred",
        temperature=2.0,
    ),
    "pairwise_logistic, NDCG weights": lambda_rank._replace(
        batches=lambda_rank.batches.map(without_ties)
    ),
    "pairwise_logistic, NDCG1 weights": first_rows._replace(
        batches=first_rows.batches.map(without_ties)
    ),
    "pairwise_logistic, Yeti weights": neighbours._replace(
        batches=neighbours.batches.map(without_ties)
    ),
    "pairwise_hinge": pairwise(losses.pairwise_hinge, losses.PairwiseHinge, frequency=True),
    "pairwise_squared_hinge": pairwise(
        losses.pairwise_squared_hinge, losses.PairwiseSquaredHinge, frequency=True
    ),
    "pairwise_soft_zero_one": pairwise(
        losses.pairwise_soft_zero_one, losses.PairwiseSoftZeroOne, frequency=True
    ),
    "pairwise_mean_squared_error": pairwise(
        losses.pairwise_mean_squared_error, losses.PairwiseMeanSquaredError
    ),
    "pairwise_mean_squared_error, preference": pairwise(
        losses.pairwise_mean_squared_error,
        losses.PairwiseMeanSquaredError,
        pairs="preference",
        frequency=True,
    ),
    "pairwise_mean_squared_error, first rows": pairwise(
        losses.pairwise_mean_squared_error,
        losses.PairwiseMeanSquaredError,
        pair_weight="first",
    ),
    "softmax": by_query(losses.softmax, losses.Softmax),
    "softmax, tempered": by_query(
        losses.softmax, losses.Softmax, ulps=2.0, labels="normalized", temperature=0.5
    ),
    "unique_softmax": by_query(losses.unique_softmax, losses.UniqueSoftmax),
    "softmax, by rank": by_rank._replace(batches=by_rank.batches.map(without_ties)),
    "list_mle": by_query(losses.list_mle, losses.ListMLE),
    "list_mle, by place": by_query(
        losses.list_mle, losses.ListMLE, position_discount="log2", weigh="relevant"
    ),
    # Ranks are taken in float32; a temperature of 0.1 makes 2 ulps of scores up to 5 into
    # 100 of the ranks.
    "approx_ndcg": by_query(losses.approx_ndcg, losses.ApproxNDCG, ulps=100.0),
    "approx_ndcg, table": by_query(
        losses.approx_ndcg, losses.ApproxNDCG, ulps=100.0, gains=[0, 1, 2, 9]
    ),
    "approx_mrr": by_query(losses.approx_mrr, losses.ApproxMRR, ulps=100.0),
    "sigmoid_crossentropy": by_query(
        losses.sigmoid_crossentropy, losses.SigmoidCrossentropy, frequency=True
    ),
    "mean_squared_error": by_query(
        losses.mean_squared_error, losses.MeanSquaredError, frequency=True
    ),
    "masked_crossentropy": by_token(label_smoothing=0.1),
    "masked_crossentropy, focal": by_token(label_smoothing=0.1, smoothing_spares=0, gamma=2.0),
    "masked_crossentropy, by sequence": by_token(normalize="sequences")._replace(frequency=False),
    "triplet": of_outputs(losses.triplet, losses.Triplet, ulps=40.0, adds_up=True),
    # Cosines are rounded to 4 ulps of 1, and multiplied by 1 / temperature = 10 or beta = 50.
    "info_nce": of_outputs(losses.info_nce, losses.InfoNCE, ulps=320.0),
    "info_nce, both ways": of_outputs(
        losses.info_nce,
        losses.InfoNCE,
        ulps=100.0,
        symmetric=True,
        decoupled=True,
        similarity="squared_euclidean",
        temperature=1.0,
    ),
    "nt_xent": of_outputs(losses.nt_xent, losses.NTXent, ulps=640.0),
    "nt_xent, decoupled": of_outputs(losses.nt_xent, losses.NTXent, ulps=640.0, decoupled=True),
    "mined_triplet, hard": by_label(losses.mined_triplet, losses.MinedTriplet, mining="hard"),
    "mined_triplet, semihard": by_label(losses.mined_triplet, losses.MinedTriplet),
    "mined_triplet, all": by_label(losses.mined_triplet, losses.MinedTriplet, mining="all"),
    "mined_triplet, all, soft": by_label(
        losses.mined_triplet, losses.MinedTriplet, mining="all", soft_margin=True
    ),
    "contrastive": by_label(losses.contrastive, losses.Contrastive),
    "margin_loss": by_label(losses.margin_loss, losses.MarginLoss, beta=1.2),
    "supervised_contrastive": by_label(
        losses.supervised_contrastive, losses.SupervisedContrastive, ulps=40.0
    ),
    "multi_similarity": by_label(losses.multi_similarity, losses.MultiSimilarity, ulps=200.0),
}


def every(where=lambda case: True, default=lambda name: True):
    """Parametrises over the losses of the list; those not in the default run are slow."""
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(case, id=name, marks=() if default(name) else pytest.mark.slow)
            for name, case in CASES.items()
            if where(case)
        ],
    )


def few_or_many(where=lambda case: True):
    """A few batches of a loss of each kind by default, many of every loss in the slow run."""
    few = [
        pytest.param(case, 3, id=f"{name}-few")
        for name, case in CASES.items()
        if where(case) and one_of_each(name)
    ]
    many = [
        pytest.param(case, 40, id=f"{name}-many", marks=pytest.mark.slow)
        for name, case in CASES.items()
        if where(case)
    ]
    return pytest.mark.parametrize(("case", "examples"), few + many)


def some_to_compile(name):
    """Losses of unlike code, for what takes seconds a loss."""
    return name in {
        "list_mle",
        "masked_crossentropy",
        "multi_similarity",
    }


def one_of_each(name):
    """A loss of each kind, for what takes a second a loss."""
    return name in {
        "pairwise_logistic",
        "list_mle",
        "approx_ndcg",
        "mean_squared_error",
        "masked_crossentropy",
        "info_nce",
        "mined_triplet, all",
        "multi_similarity",
    }


def example(case):
    """One batch that holds what each loss needs: ties, a masked row, weights."""
    rng = np.random.default_rng(3)
    mask = np.array([1, 1, 1, 1, 1, 0, 1, 1, 1, 1], bool)
    weight = np.array([1.0, 2.0, 0.5, 1.0, 1.0, 1.0, 0.0, 3.0, 1.0, 1.0])
    if case.of == "queries":
        query = np.array([3, 1, 3, 1, 2, 3, 1, 3, 2, 1])
        labels = np.array([1.0, 0.0, 2.0, 1.0, 0.0, 1.0, 3.0, 0.0, 0.0, 1.0])
        if case.function is losses.sigmoid_crossentropy:
            labels = np.minimum(labels, 1.0)
        return {
            "y_true": labels,
            "y_pred": np.linspace(-1, 2, 10)[[3, 1, 4, 0, 5, 9, 2, 6, 8, 7]],
            "query_ids": query,
            "mask": mask,
            "sample_weight": weight,
            "query_weight": np.array([0.5, 1.0, 2.0])[query - 1],
        }
    if case.of == "sequences":
        return {
            "y_true": rng.integers(0, CLASSES, (10, 4)),
            "y_pred": rng.normal(size=(10, 4, CLASSES)),
            "mask": mask[:, None] & (rng.random((10, 4)) < 0.8),
            "sample_weight": weight[:, None] * rng.integers(0, 3, (10, 4)),
        }
    columns = {name: rng.normal(size=(10, 3)) for name in case.takes}
    if case.of == "labels":
        columns["y_true"] = np.array([0, 1, 0, 2, 1, 0, 2, 1, 0, 1])
    return columns | {"mask": mask, "sample_weight": weight}
