"""Encoders that teach themselves, each with a step by hand and as objectives."""

import keras
import tensorflow as tf
from keras import ops

from keras_trainsteps import Ema, LossAwareModel, Objective, Queue
from tests.parity.objectives.by_hand import ByHand, dense, rows_of

WIDTH, FEATURES, CLASSES, SIZE = 5, 4, 2, 9


def unit(x):
    return x / ops.sqrt(ops.sum(ops.square(x), axis=1, keepdims=True) + 1e-6)


def classified(labels, logits):
    losses = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    return ops.mean(losses)


class Encoder:
    """An encoder with a head, and noisy views of rows."""

    def __init__(self, **options):
        super().__init__(**options)
        self.encoder, self.head = dense(WIDTH, 6, FEATURES), dense(FEATURES, 6, FEATURES)
        self.linear_probe = dense(FEATURES, CLASSES)
        self.seed = keras.random.SeedGenerator(5)

    def view(self, x):
        return x + 0.1 * keras.random.normal(ops.shape(x), seed=self.seed)

    def projected(self, x):
        return unit(self.head(self.encoder(x)))


def contrasted(one, other):
    """Each row must find its other view among all."""
    similar = ops.matmul(one, ops.transpose(other)) / 0.1
    labels = ops.arange(rows_of(one))
    return 0.5 * (classified(labels, similar) + classified(labels, ops.transpose(similar)))


class SimCLRByHand(Encoder, ByHand):
    logged = ("similar", "probed")
    optimized = ("contrast", "probe")

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            one, other = self.projected(self.view(x)), self.projected(self.view(x))
            similar = contrasted(one, other)
            scaled = self.by_name["contrast"].scale_loss(similar)
        weights = self.encoder.trainable_weights + self.head.trainable_weights
        self.update("contrast", tape, scaled, weights)
        features = self.encoder(self.view(x))
        with tf.GradientTape() as tape:
            probed = classified(y, self.linear_probe(features))
            scaled = self.by_name["probe"].scale_loss(probed)
        self.update("probe", tape, scaled, self.linear_probe.trainable_weights)
        return self.log(rows_of(x), similar=similar, probed=probed)


class SimCLR(Encoder, LossAwareModel):
    def objectives(self):
        return {
            "contrast": Objective(self.contrast, trains=(self.encoder, self.head)),
            "probe": Objective(self.probe, trains=self.linear_probe),
        }

    def contrast(self, x):
        one, other = self.projected(self.view(x)), self.projected(self.view(x))
        return {"similar": contrasted(one, other)}

    def probe(self, x, y):
        return {"probed": classified(y, self.linear_probe(self.encoder(self.view(x))))}


class Momentum(Encoder):
    """With a second encoder and head that follow."""

    def __init__(self, **options):
        super().__init__(**options)
        self.slow_encoder = dense(WIDTH, 6, FEATURES)
        self.slow_head = dense(FEATURES, 6, FEATURES)

    def slow(self, x):
        return ops.stop_gradient(unit(self.slow_head(self.slow_encoder(x))))

    def against(self, query, key, negatives):
        right = ops.sum(query * key, axis=1, keepdims=True)
        wrong = ops.matmul(query, ops.transpose(negatives))
        logits = ops.concatenate([right, wrong], axis=1) / 0.1
        return classified(ops.zeros((rows_of(query),), "int32"), logits)


class MoCoByHand(Momentum, ByHand):
    logged = ("similar", "probed")
    optimized = ("contrast", "probe")

    def __init__(self):
        super().__init__()
        rows = unit(keras.random.normal((SIZE, FEATURES)))
        self.keys = self.add_weight(shape=(SIZE, FEATURES), trainable=False, name="keys")
        self.keys.assign(rows)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            query, key = self.projected(self.view(x)), self.slow(self.view(x))
            similar = self.against(query, key, self.keys)
            scaled = self.by_name["contrast"].scale_loss(similar)
        weights = self.encoder.trainable_weights + self.head.trainable_weights
        self.update("contrast", tape, scaled, weights)
        features = self.encoder(self.view(x))
        with tf.GradientTape() as tape:
            probed = classified(y, self.linear_probe(features))
            scaled = self.by_name["probe"].scale_loss(probed)
        self.update("probe", tape, scaled, self.linear_probe.trainable_weights)
        leading = self.encoder.weights + self.head.weights
        following = self.slow_encoder.weights + self.slow_head.weights
        for weight, follower in zip(leading, following, strict=True):
            follower.assign(0.9 * follower + (1 - 0.9) * weight)
        self.keys.assign(ops.concatenate([key, self.keys])[:SIZE])
        return self.log(rows_of(x), similar=similar, probed=probed)


class MoCo(Momentum, LossAwareModel):
    after_step = (
        Ema(("encoder", "head"), into=("slow_encoder", "slow_head"), momentum=0.9),
        Queue("keys", of="key", size=SIZE, shape=(FEATURES,)),
    )
    probe = SimCLR.probe
    objectives = SimCLR.objectives

    def contrast(self, x):
        query, key = self.projected(self.view(x)), self.slow(self.view(x))
        self.pass_on("key", key)
        return {"similar": self.against(query, key, self.keys)}


class BYOLByHand(Momentum, ByHand):
    logged = ("apart",)
    optimized = ("loss",)

    def __init__(self):
        super().__init__()
        self.predictor = dense(FEATURES, 6, FEATURES)

    def apart(self, one, other):
        predicted = unit(self.predictor(self.projected(one)))
        return ops.mean(2.0 - 2.0 * ops.sum(predicted * self.slow(other), axis=1))

    def train_step(self, x):
        one, other = self.view(x), self.view(x)
        with tf.GradientTape() as tape:
            apart = self.apart(one, other) + self.apart(other, one)
            scaled = self.by_name["loss"].scale_loss(apart)
        weights = [
            *self.encoder.trainable_weights,
            *self.head.trainable_weights,
            *self.predictor.trainable_weights,
        ]
        self.update("loss", tape, scaled, weights)
        leading = self.encoder.weights + self.head.weights
        following = self.slow_encoder.weights + self.slow_head.weights
        for weight, follower in zip(leading, following, strict=True):
            follower.assign(0.9 * follower + (1 - 0.9) * weight)
        return self.log(rows_of(x), apart=apart)


class BYOL(Momentum, LossAwareModel):
    after_step = (Ema(("encoder", "head"), into=("slow_encoder", "slow_head"), momentum=0.9),)
    trains = ("encoder", "head", "predictor")

    def __init__(self, **options):
        super().__init__(**options)
        self.predictor = dense(FEATURES, 6, FEATURES)

    def call(self, x):
        return self.encoder(x)

    def apart(self, one, other):
        predicted = unit(self.predictor(self.projected(one)))
        return ops.mean(2.0 - 2.0 * ops.sum(predicted * self.slow(other), axis=1))

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        one, other = self.view(x), self.view(x)
        return {"apart": self.apart(one, other) + self.apart(other, one)}


class Neighbours(Encoder):
    """Each row must find its other view from its neighbour among earlier rows."""

    def nearest(self, rows, known):
        place = ops.argmax(ops.matmul(rows, ops.transpose(known)), axis=1)
        nearest = ops.take(known, place, axis=0)
        return rows + ops.stop_gradient(nearest - rows)

    def found(self, one, other, known):
        to_other = ops.matmul(self.nearest(one, known), ops.transpose(other)) / 0.1
        to_one = ops.matmul(self.nearest(other, known), ops.transpose(one)) / 0.1
        labels = ops.arange(rows_of(one))
        return classified(labels, to_other) + classified(labels, to_one)


class NNCLRByHand(Neighbours, ByHand):
    logged = ("similar", "probed")
    optimized = ("contrast", "probe")

    def __init__(self):
        super().__init__()
        rows = unit(keras.random.normal((SIZE, FEATURES)))
        self.known = self.add_weight(shape=(SIZE, FEATURES), trainable=False, name="known")
        self.known.assign(rows)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            one, other = self.projected(self.view(x)), self.projected(self.view(x))
            similar = self.found(one, other, self.known)
            scaled = self.by_name["contrast"].scale_loss(similar)
        weights = self.encoder.trainable_weights + self.head.trainable_weights
        self.update("contrast", tape, scaled, weights)
        self.known.assign(ops.concatenate([one, self.known])[:SIZE])
        features = self.encoder(self.view(x))
        with tf.GradientTape() as tape:
            probed = classified(y, self.linear_probe(features))
            scaled = self.by_name["probe"].scale_loss(probed)
        self.update("probe", tape, scaled, self.linear_probe.trainable_weights)
        return self.log(rows_of(x), similar=similar, probed=probed)


class NNCLR(Neighbours, LossAwareModel):
    after_step = (Queue("known", size=SIZE, shape=(FEATURES,)),)
    probe = SimCLR.probe
    objectives = SimCLR.objectives

    def contrast(self, x):
        one, other = self.projected(self.view(x)), self.projected(self.view(x))
        self.pass_on("known", one)
        return {"similar": self.found(one, other, self.known)}
