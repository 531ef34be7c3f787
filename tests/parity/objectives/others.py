"""Diffusion, distillation, layers that learn alone, captions: by hand and as objectives."""

import keras
import tensorflow as tf
from keras import ops

from keras_trainsteps import Ema, LossAwareModel, Objective
from tests.parity.objectives.by_hand import ByHand, dense, rows_of

WIDTH, CLASSES, LAYERS, CAPTIONS, TOKENS, WORDS = 5, 2, 3, 5, 3, 4


def classified(labels, logits):
    losses = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    return ops.mean(losses)


def squared(one, other):
    return ops.mean(ops.square(one - other))


class Denoiser:
    """A network that tells noise from what it was added to, and one that follows it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.network, self.ema_network = (dense(WIDTH + 1, 6, WIDTH) for _ in range(2))
        self.seed = keras.random.SeedGenerator(5)

    def diffused(self, x):
        noise = keras.random.normal(ops.shape(x), seed=self.seed)
        angle = keras.random.uniform((rows_of(x), 1), seed=self.seed)
        noisy = ops.cos(angle) * x + ops.sin(angle) * noise
        return ops.concatenate([noisy, angle], axis=1), noise


class DDIMByHand(Denoiser, ByHand):
    logged = ("n_loss",)
    optimized = ("loss",)

    def train_step(self, x):
        noisy, noise = self.diffused(x)
        with tf.GradientTape() as tape:
            n_loss = ops.mean(ops.abs(noise - self.network(noisy)))
            scaled = self.by_name["loss"].scale_loss(n_loss)
        self.update("loss", tape, scaled, self.network.trainable_weights)
        for weight, follower in zip(self.network.weights, self.ema_network.weights, strict=True):
            follower.assign(0.9 * follower + (1 - 0.9) * weight)
        return self.log(rows_of(x), n_loss=n_loss)

    def test_step(self, x):
        noisy, noise = self.diffused(x)
        n_loss = ops.mean(ops.abs(noise - self.ema_network(noisy)))
        return self.log(rows_of(x), n_loss=n_loss)


class DDIM(Denoiser, LossAwareModel):
    after_step = (Ema("network", into="ema_network", momentum=0.9),)

    def __init__(self, **options):
        super().__init__(autocast=False, **options)  # noise is drawn in float32

    def call(self, x, training=False):
        noisy, noise = self.diffused(x)
        return {"noise": noise, "told": (self.network if training else self.ema_network)(noisy)}

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"n_loss": ops.mean(ops.abs(y_pred["noise"] - y_pred["told"]))}


class Taught:
    """A student and its teacher."""

    def __init__(self, **options):
        super().__init__(**options)
        self.student, self.teacher = dense(WIDTH, 6, CLASSES), dense(WIDTH, 6, CLASSES)

    def soft(self, teacher, student):
        wanted, given = ops.softmax(teacher / 3.0), ops.log_softmax(student / 3.0)
        return 9.0 * ops.mean(-ops.sum(wanted * given, axis=1))


class DistilledByHand(Taught, ByHand):
    logged = ("hard", "soft")
    optimized = ("loss",)

    def train_step(self, data):
        x, y = data
        teacher = self.teacher(x)
        with tf.GradientTape() as tape:
            student = self.student(x)
            hard, soft = classified(y, student), self.soft(teacher, student)
            scaled = self.by_name["loss"].scale_loss(hard + soft)
        self.update("loss", tape, scaled, self.student.trainable_weights)
        return self.log(rows_of(x), hard=hard, soft=soft)


class Distilled(Taught, LossAwareModel):
    trains = "student"

    def call(self, x):
        return self.student(x)

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"hard": classified(y, y_pred), "soft": self.soft(self.teacher(x), y_pred)}


class Hinted(Taught):
    """The student's features are to be those of the teacher, through a regressor."""

    def __init__(self, **options):
        super().__init__(**options)
        self.student_body, self.teacher_body = dense(WIDTH, 4), dense(WIDTH, 6)
        self.student, self.teacher = dense(4, CLASSES), dense(6, CLASSES)
        self.regressor = dense(4, 6)


class HintedByHand(Hinted, ByHand):
    logged = ("hint", "hard")
    optimized = ("body", "top")

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            hint = squared(self.regressor(self.student_body(x)), self.teacher_body(x))
            scaled = self.by_name["body"].scale_loss(hint)
        weights = self.student_body.trainable_weights + self.regressor.trainable_weights
        self.update("body", tape, scaled, weights)
        features = self.student_body(x)
        with tf.GradientTape() as tape:
            hard = classified(y, self.student(features))
            scaled = self.by_name["top"].scale_loss(hard)
        self.update("top", tape, scaled, self.student.trainable_weights)
        return self.log(rows_of(x), hint=hint, hard=hard)


class HintedStudent(Hinted, LossAwareModel):
    def objectives(self):
        return {
            "body": Objective(self.hints, trains=("student_body", "regressor")),
            "top": Objective(self.classify, trains="student"),
        }

    def hints(self, x):
        return {"hint": squared(self.regressor(self.student_body(x)), self.teacher_body(x))}

    def classify(self, x, y):
        return {"hard": classified(y, self.student(self.student_body(x)))}


class MeanTeacherByHand(Taught, ByHand):
    logged = ("hard", "consistent")
    optimized = ("loss",)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            student = self.student(x)
            hard = classified(y, student)
            consistent = squared(ops.softmax(student), ops.softmax(self.teacher(x)))
            scaled = self.by_name["loss"].scale_loss(hard + consistent)
        self.update("loss", tape, scaled, self.student.trainable_weights)
        for weight, follower in zip(self.student.weights, self.teacher.weights, strict=True):
            follower.assign(0.9 * follower + (1 - 0.9) * weight)
        return self.log(rows_of(x), hard=hard, consistent=consistent)


class MeanTeacher(Taught, LossAwareModel):
    after_step = (Ema("student", into="teacher", momentum=0.9),)
    call = Distilled.call

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        taught = ops.softmax(self.teacher(x))
        return {"hard": classified(y, y_pred), "consistent": squared(ops.softmax(y_pred), taught)}


class Layers:
    """Layers that tell right rows from wrong ones by how much they answer, each by itself."""

    def __init__(self, **options):
        super().__init__(**options)
        self.stack = [dense(WIDTH if k == 0 else 6, 6) for k in range(LAYERS)]

    def goodness(self, layer, right, wrong):
        answers = [ops.mean(ops.square(layer(rows)), axis=1) for rows in (right, wrong)]
        margins = ops.concatenate([1.5 - answers[0], answers[1] - 1.5])
        return ops.mean(ops.log(1.0 + ops.exp(margins)))


class ForwardForwardByHand(Layers, ByHand):
    logged = tuple(f"good_{k}" for k in range(LAYERS))
    optimized = tuple(f"layer_{k}" for k in range(LAYERS))

    def train_step(self, data):
        right, wrong = data
        for k, layer in enumerate(self.stack):
            for _ in range(2):
                with tf.GradientTape() as tape:
                    good = self.goodness(layer, right, wrong)
                    scaled = self.by_name[f"layer_{k}"].scale_loss(good)
                self.update(f"layer_{k}", tape, scaled, layer.trainable_weights)
                logs = self.log(rows_of(right), **{f"good_{k}": good})
            right, wrong = ops.tanh(layer(right)), ops.tanh(layer(wrong))
        return logs


class ForwardForward(Layers, LossAwareModel):
    def objectives(self):
        return {
            f"layer_{k}": Objective(self.losses_of(k), trains=layer, repeat=2)
            for k, layer in enumerate(self.stack)
        }

    def losses_of(self, k):
        def hook(x, y):
            for layer in self.stack[:k]:
                x, y = ops.tanh(layer(x)), ops.tanh(layer(y))
            return {f"good_{k}": self.goodness(self.stack[k], x, y)}

        return hook


class Captions:
    """Networks that say of an image the next word of a caption."""

    def __init__(self, **options):
        super().__init__(**options)
        self.features, self.encoder = dense(WIDTH, 6), dense(6, 6)
        self.decoder = dense(6 + WORDS, 6, WORDS)

    def said(self, image, caption):
        seen = ops.repeat(self.encoder(image)[:, None], TOKENS - 1, axis=1)
        before = ops.one_hot(caption[:, :-1], WORDS)
        rows = ops.reshape(ops.concatenate([seen, before], axis=2), (-1, 6 + WORDS))
        return classified(ops.reshape(caption[:, 1:], (-1,)), self.decoder(rows))


class CaptioningByHand(Captions, ByHand):
    logged = ("words",)
    optimized = ("caption",)

    def train_step(self, data):
        x, y = data
        image = self.features(x)
        for k in range(CAPTIONS):
            with tf.GradientTape() as tape:
                words = self.said(image, y[:, k])
                scaled = self.by_name["caption"].scale_loss(words)
            weights = self.encoder.trainable_weights + self.decoder.trainable_weights
            self.update("caption", tape, scaled, weights)
            logs = self.log(rows_of(x), words=words)
        return logs

    def test_step(self, data):
        x, y = data
        for k in range(CAPTIONS):
            logs = self.log(rows_of(x), words=self.said(self.features(x), y[:, k]))
        return logs


class Captioning(Captions, LossAwareModel):
    def objectives(self):
        trains = ("encoder", "decoder")
        return {"caption": Objective(self.describe, trains=trains, repeat=CAPTIONS)}

    def describe(self, x, y, repeat):
        return {"words": self.said(self.features(x), y[:, repeat])}


class Sharp:
    """A classifier with the gradients of a near place of higher loss (Foret et al., 2021)."""

    def __init__(self, **options):
        super().__init__(**options)
        self.network = dense(WIDTH, 6, CLASSES)


class SharpByHand(Sharp, ByHand):
    logged = ("hard",)
    optimized = ("sharp",)

    def train_step(self, data):
        x, y = data
        weights = self.network.trainable_weights
        with tf.GradientTape() as tape:
            hard = classified(y, self.network(x))
        gradients = tape.gradient(hard, weights)
        norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))
        moves = [0.05 * gradient / norm for gradient in gradients]
        for weight, move in zip(weights, moves, strict=True):
            weight.assign_add(move)
        with tf.GradientTape() as tape:
            scaled = self.by_name["sharp"].scale_loss(classified(y, self.network(x)))
        gradients = tape.gradient(scaled, weights)
        for weight, move in zip(weights, moves, strict=True):
            weight.assign_sub(move)
        self.by_name["sharp"].apply_gradients(zip(gradients, weights, strict=True))
        return self.log(rows_of(x), hard=hard)


class SharpClassifier(Sharp, LossAwareModel):
    def objectives(self):
        return {"sharp": Objective(self.classify, trains="network", gradients=self.nearby)}

    def classify(self, x, y):
        return {"hard": classified(y, self.network(x))}

    def nearby(self, pairs, again):
        norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient, _ in pairs))
        moves = [(0.05 * gradient / norm, weight) for gradient, weight in pairs]
        for move, weight in moves:
            weight.assign_add(move)
        found = again()
        for move, weight in moves:
            weight.assign_sub(move)
        return found
