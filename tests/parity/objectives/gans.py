"""Generative adversarial networks, each with a step by hand and as objectives."""

import keras
import tensorflow as tf
from keras import ops

from keras_trainsteps import Ema, LossAwareModel, Objective, losses
from tests.parity.objectives.by_hand import ByHand, dense, rows_of

LATENT, WIDTH, CLASSES = 3, 5, 2


def true_or_false(labels, logits):
    """The mean binary crossentropy of logits."""
    return ops.mean(ops.binary_crossentropy(labels, logits, from_logits=True))


def absolute(one, other):
    return ops.mean(ops.abs(one - other))


class Pair:
    """A generator, a discriminator and a generator of random numbers."""

    def __init__(self, **options):
        super().__init__(**options)
        self.generator = dense(LATENT, 6, WIDTH)
        self.discriminator = dense(WIDTH, 6, 1)
        self.seed = keras.random.SeedGenerator(5)

    def fake(self, x):
        return self.generator(keras.random.normal((rows_of(x), LATENT), seed=self.seed))


class DCGANByHand(Pair, ByHand):
    logged = ("d_loss", "g_loss")
    optimized = ("d", "g")

    def train_step(self, x):
        fake = self.fake(x)
        both = ops.concatenate([fake, x])
        labels = ops.concatenate([ops.ones((rows_of(x), 1)), ops.zeros((rows_of(x), 1))])
        with tf.GradientTape() as tape:
            d_loss = true_or_false(labels, self.discriminator(both))
            scaled = self.by_name["d"].scale_loss(d_loss)
        self.update("d", tape, scaled, self.discriminator.trainable_weights)
        misleading = ops.zeros((rows_of(x), 1))
        with tf.GradientTape() as tape:
            g_loss = true_or_false(misleading, self.discriminator(self.fake(x)))
            scaled = self.by_name["g"].scale_loss(g_loss)
        self.update("g", tape, scaled, self.generator.trainable_weights)
        return self.log(rows_of(x), d_loss=d_loss, g_loss=g_loss)


class DCGAN(Pair, LossAwareModel):
    def objectives(self):
        return {
            "d": Objective(self.tell_apart, trains=self.discriminator),
            "g": Objective(self.fool, trains=self.generator),
        }

    def tell_apart(self, x):
        both = ops.concatenate([self.fake(x), x])
        labels = ops.concatenate([ops.ones((rows_of(x), 1)), ops.zeros((rows_of(x), 1))])
        return {"d_loss": true_or_false(labels, self.discriminator(both))}

    def fool(self, x):
        misleading = ops.zeros((rows_of(x), 1))
        return {"g_loss": true_or_false(misleading, self.discriminator(self.fake(x)))}


class WGANGPByHand(Pair, ByHand):
    logged = ("critic", "penalty", "g_loss")
    optimized = ("d", "g")

    def gradient_penalty(self, real, fake):
        share = keras.random.uniform((rows_of(real), 1), seed=self.seed)
        points = real + share * (fake - real)
        with tf.GradientTape() as tape:
            tape.watch(points)
            output = self.discriminator(points)
        slopes = tape.gradient(output, points)
        norms = ops.sqrt(ops.sum(ops.square(slopes), axis=1))
        return ops.mean(ops.square(norms - 1.0))

    def train_step(self, x):
        for _ in range(3):
            with tf.GradientTape() as tape:
                fake = self.fake(x)
                critic = ops.mean(self.discriminator(fake)) - ops.mean(self.discriminator(x))
                penalty = 10.0 * self.gradient_penalty(x, fake)
                scaled = self.by_name["d"].scale_loss(critic + penalty)
            self.update("d", tape, scaled, self.discriminator.trainable_weights)
            self.log(rows_of(x), critic=critic, penalty=penalty)
        with tf.GradientTape() as tape:
            g_loss = -ops.mean(self.discriminator(self.fake(x)))
            scaled = self.by_name["g"].scale_loss(g_loss)
        self.update("g", tape, scaled, self.generator.trainable_weights)
        return self.log(rows_of(x), g_loss=g_loss)


class WGANGP(Pair, LossAwareModel):
    def objectives(self):
        return {
            "d": Objective(self.criticize, trains=self.discriminator, repeat=3),
            "g": Objective(self.fool, trains=self.generator),
        }

    def criticize(self, x):
        fake = self.fake(x)
        penalty = losses.gradient_penalty(self.discriminator, x, fake, seed=self.seed)
        critic = ops.mean(self.discriminator(fake)) - ops.mean(self.discriminator(x))
        return {"critic": critic, "penalty": 10.0 * penalty}

    def fool(self, x):
        return {"g_loss": -ops.mean(self.discriminator(self.fake(x)))}


class Cycle:
    """Two generators and two discriminators."""

    def __init__(self, **options):
        super().__init__(**options)
        self.to_y, self.to_x = dense(WIDTH, 6, WIDTH), dense(WIDTH, 6, WIDTH)
        self.judge_x, self.judge_y = dense(WIDTH, 6, 1), dense(WIDTH, 6, 1)


class CycleGANByHand(Cycle, ByHand):
    logged = ("to_y_loss", "to_x_loss", "judge_x_loss", "judge_y_loss")
    optimized = ("to_y", "to_x", "judge_x", "judge_y")

    def train_step(self, data):
        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            fake_y, fake_x = self.to_y(x), self.to_x(y)
            cycled_x, cycled_y = self.to_x(fake_y), self.to_y(fake_x)
            real = [self.judge_x(x), self.judge_y(y)]
            fake = [self.judge_x(fake_x), self.judge_y(fake_y)]
            ones, zeros = ops.ones_like(real[0]), ops.zeros_like(real[0])
            to_y = true_or_false(ones, fake[1]) + 10.0 * absolute(y, cycled_y)
            to_y += 5.0 * absolute(y, self.to_y(y))
            to_x = true_or_false(ones, fake[0]) + 10.0 * absolute(x, cycled_x)
            to_x += 5.0 * absolute(x, self.to_x(x))
            judge_x = 0.5 * (true_or_false(ones, real[0]) + true_or_false(zeros, fake[0]))
            judge_y = 0.5 * (true_or_false(ones, real[1]) + true_or_false(zeros, fake[1]))
            scaled = {
                "to_y": self.by_name["to_y"].scale_loss(to_y),
                "to_x": self.by_name["to_x"].scale_loss(to_x),
                "judge_x": self.by_name["judge_x"].scale_loss(judge_x),
                "judge_y": self.by_name["judge_y"].scale_loss(judge_y),
            }
        weights = {name: getattr(self, name).trainable_weights for name in self.optimized}
        gradients = {name: tape.gradient(scaled[name], weights[name]) for name in scaled}
        for name, optimizer in self.by_name.items():
            optimizer.apply_gradients(zip(gradients[name], weights[name], strict=True))
        return self.log(
            rows_of(x),
            to_y_loss=to_y,
            to_x_loss=to_x,
            judge_x_loss=judge_x,
            judge_y_loss=judge_y,
        )


class CycleGAN(Cycle, LossAwareModel):
    def objectives(self):
        networks = ("to_y", "to_x", "judge_x", "judge_y")
        trains = {name: f"{name}_loss" for name in networks}
        return {"cycle": Objective(self.translate, trains=trains)}

    def translate(self, x, y):
        fake_y, fake_x = self.to_y(x), self.to_x(y)
        found = self.one_way(x, y, fake_x, fake_y, self.to_y, self.to_x, self.judge_y)
        other = self.one_way(y, x, fake_y, fake_x, self.to_x, self.to_y, self.judge_x)
        names = ("to_y_loss", "judge_y_loss", "to_x_loss", "judge_x_loss")
        return dict(zip(names, (*found, *other), strict=True))

    def one_way(self, x, y, fake_x, fake_y, to_y, to_x, judge):
        real, fake = judge(y), judge(fake_y)
        ones, zeros = ops.ones_like(real), ops.zeros_like(real)
        loss = true_or_false(ones, fake) + 10.0 * absolute(y, to_y(fake_x))
        loss += 5.0 * absolute(y, to_y(y))
        return loss, 0.5 * (true_or_false(ones, real) + true_or_false(zeros, fake))


class Conditional(Pair):
    """Both networks are told the label."""

    def __init__(self, **options):
        super().__init__(**options)
        self.generator = dense(LATENT + CLASSES, 6, WIDTH)
        self.discriminator = dense(WIDTH + CLASSES, 6, 1)

    def fake(self, label):
        noise = keras.random.normal((rows_of(label), LATENT), seed=self.seed)
        made = self.generator(ops.concatenate([noise, label], axis=1))
        return ops.concatenate([made, label], axis=1)


class ConditionalGANByHand(Conditional, ByHand):
    logged = ("d_loss", "g_loss")
    optimized = ("d", "g")

    def train_step(self, data):
        x, y = data
        label = ops.one_hot(y, CLASSES)
        both = ops.concatenate([self.fake(label), ops.concatenate([x, label], axis=1)])
        labels = ops.concatenate([ops.ones((rows_of(x), 1)), ops.zeros((rows_of(x), 1))])
        with tf.GradientTape() as tape:
            d_loss = true_or_false(labels, self.discriminator(both))
            scaled = self.by_name["d"].scale_loss(d_loss)
        self.update("d", tape, scaled, self.discriminator.trainable_weights)
        misleading = ops.zeros((rows_of(x), 1))
        with tf.GradientTape() as tape:
            g_loss = true_or_false(misleading, self.discriminator(self.fake(label)))
            scaled = self.by_name["g"].scale_loss(g_loss)
        self.update("g", tape, scaled, self.generator.trainable_weights)
        return self.log(rows_of(x), d_loss=d_loss, g_loss=g_loss)


class ConditionalGAN(Conditional, LossAwareModel):
    objectives = DCGAN.objectives

    def tell_apart(self, x, y):
        label = ops.one_hot(y, CLASSES)
        both = ops.concatenate([self.fake(label), ops.concatenate([x, label], axis=1)])
        labels = ops.concatenate([ops.ones((rows_of(x), 1)), ops.zeros((rows_of(x), 1))])
        return {"d_loss": true_or_false(labels, self.discriminator(both))}

    def fool(self, x, y):
        fake = self.fake(ops.one_hot(y, CLASSES))
        misleading = ops.zeros((rows_of(x), 1))
        return {"g_loss": true_or_false(misleading, self.discriminator(fake))}


class Painter(Pair):
    """An encoder of styles and a generator that paints them, as in GauGAN."""

    def __init__(self, **options):
        super().__init__(**options)
        self.encoder = dense(WIDTH, 6, 2 * LATENT)

    def painted(self, x):
        mean, log_variance = ops.split(self.encoder(x), 2, axis=1)
        noise = keras.random.normal((rows_of(x), LATENT), seed=self.seed)
        spread = ops.exp(log_variance)
        divergence = 0.5 * ops.mean(ops.square(mean) + spread - 1.0 - log_variance)
        return self.generator(mean + ops.sqrt(spread) * noise), divergence


class GauGANByHand(Painter, ByHand):
    logged = ("d_loss", "g_loss", "divergence", "features")
    optimized = ("d", "g")

    def train_step(self, x):
        self.discriminator.trainable = True
        fake, _ = self.painted(x)
        with tf.GradientTape() as tape:
            real, made = self.discriminator(x), self.discriminator(fake)
            d_loss = ops.mean(ops.relu(1.0 - real)) + ops.mean(ops.relu(1.0 + made))
            scaled = self.by_name["d"].scale_loss(d_loss)
        self.update("d", tape, scaled, self.discriminator.trainable_weights)
        self.discriminator.trainable = False
        with tf.GradientTape() as tape:
            fake, divergence = self.painted(x)
            g_loss = -ops.mean(self.discriminator(fake))
            features = 10.0 * absolute(x, fake)
            divergence = 0.1 * divergence
            loss = g_loss + divergence + features
            scaled = self.by_name["g"].scale_loss(loss)
        weights = self.generator.trainable_weights + self.encoder.trainable_weights
        self.update("g", tape, scaled, weights)
        self.discriminator.trainable = True
        return self.log(
            rows_of(x), d_loss=d_loss, g_loss=g_loss, divergence=divergence, features=features
        )


class GauGAN(Painter, LossAwareModel):
    def objectives(self):
        return {
            "d": Objective(self.judge, trains="discriminator"),
            "g": Objective(self.paint, trains=("generator", "encoder")),
        }

    def judge(self, x):
        fake, _ = self.painted(x)
        real, made = self.discriminator(x), self.discriminator(fake)
        return {"d_loss": ops.mean(ops.relu(1.0 - real)) + ops.mean(ops.relu(1.0 + made))}

    def paint(self, x):
        fake, divergence = self.painted(x)
        return {
            "g_loss": -ops.mean(self.discriminator(fake)),
            "divergence": 0.1 * divergence,
            "features": 10.0 * absolute(x, fake),
        }


class Augmented(Pair):
    """A discriminator that sees noisy rows, with a share that its certainty moves."""

    def __init__(self, **options):
        super().__init__(**options)
        self.average = dense(LATENT, 6, WIDTH)
        self.share = self.add_weight(shape=(), initializer="zeros", trainable=False, name="share")

    def seen(self, x):
        noise = keras.random.normal(ops.shape(x), seed=self.seed)
        return self.discriminator(x + self.share * noise)


class ADAByHand(Augmented, ByHand):
    logged = ("d_loss", "g_loss")
    optimized = ("discriminator", "generator")

    def train_step(self, x):
        with tf.GradientTape(persistent=True) as tape:
            fake = self.fake(x)
            real_logits, fake_logits = self.seen(x), self.seen(fake)
            ones, zeros = ops.ones_like(real_logits), ops.zeros_like(fake_logits)
            g_loss = true_or_false(ones, fake_logits)
            d_loss = true_or_false(ones, real_logits) + true_or_false(zeros, fake_logits)
            scaled = {
                "discriminator": self.by_name["discriminator"].scale_loss(d_loss),
                "generator": self.by_name["generator"].scale_loss(g_loss),
            }
        weights = {name: getattr(self, name).trainable_weights for name in self.optimized}
        gradients = {name: tape.gradient(scaled[name], weights[name]) for name in scaled}
        for name, optimizer in self.by_name.items():
            optimizer.apply_gradients(zip(gradients[name], weights[name], strict=True))
        certain = ops.mean(0.5 * (1.0 + ops.sign(real_logits)))
        self.share.assign(ops.clip(self.share + (certain - 0.85) / 100.0, 0.0, 1.0))
        for weight, follower in zip(self.generator.weights, self.average.weights, strict=True):
            follower.assign(0.9 * follower + (1 - 0.9) * weight)
        return self.log(rows_of(x), d_loss=d_loss, g_loss=g_loss)


class ADA(Augmented, LossAwareModel):
    def adapt(self, real_logits):
        certain = ops.mean(0.5 * (1.0 + ops.sign(real_logits)))
        self.share.assign(ops.clip(self.share + (certain - 0.85) / 100.0, 0.0, 1.0))

    after_step = (adapt, Ema("generator", into="average", momentum=0.9))

    def objectives(self):
        trains = {"discriminator": "d_loss", "generator": "g_loss"}
        return {"gan": Objective(self.play, trains=trains)}

    def play(self, x):
        fake = self.fake(x)
        real_logits, fake_logits = self.seen(x), self.seen(fake)
        ones, zeros = ops.ones_like(real_logits), ops.zeros_like(fake_logits)
        self.pass_on("real_logits", real_logits)
        return {
            "g_loss": true_or_false(ones, fake_logits),
            "d_loss": true_or_false(ones, real_logits) + true_or_false(zeros, fake_logits),
        }
