"""Every port beside the step by hand, and the data it is trained on."""

import inspect
from typing import Any, NamedTuple

import numpy as np

from tests.parity.objectives import encoders, gans, others

ROWS = 22  # batches of 8, 8 and 6


class Case(NamedTuple):
    """A step by hand, the same on `LossAwareModel`, and what is trained on.

    Where a term is a `LossTerm`, the mean by hand sums in another order.
    """

    by_hand: type
    ours: type
    data: Any
    sums_otherwise: bool = False

    @property
    def lines(self):
        """Lines of code of both classes, without comments and docstrings."""
        return tuple(_lines(cls) for cls in (self.by_hand, self.ours))


_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(ROWS, 5)).astype("float32")
OTHER = _RNG.normal(size=(ROWS, 5)).astype("float32")
LABELS = _RNG.integers(0, 2, size=ROWS).astype("int32")
CAPTIONS = _RNG.integers(0, others.WORDS, size=(ROWS, 5, 3)).astype("int32")

CASES = {
    "dcgan": Case(gans.DCGANByHand, gans.DCGAN, (X,)),
    "wgan_gp": Case(gans.WGANGPByHand, gans.WGANGP, (X,), sums_otherwise=True),
    "cyclegan": Case(gans.CycleGANByHand, gans.CycleGAN, (X, OTHER)),
    "conditional_gan": Case(gans.ConditionalGANByHand, gans.ConditionalGAN, (X, LABELS)),
    "gaugan": Case(gans.GauGANByHand, gans.GauGAN, (X,)),
    "ada": Case(gans.ADAByHand, gans.ADA, (X,)),
    "simclr": Case(encoders.SimCLRByHand, encoders.SimCLR, (X, LABELS)),
    "moco": Case(encoders.MoCoByHand, encoders.MoCo, (X, LABELS)),
    "byol": Case(encoders.BYOLByHand, encoders.BYOL, (X,)),
    "nnclr": Case(encoders.NNCLRByHand, encoders.NNCLR, (X, LABELS)),
    "ddim": Case(others.DDIMByHand, others.DDIM, (X,)),
    "distilled": Case(others.DistilledByHand, others.Distilled, (X, LABELS)),
    "hinted": Case(others.HintedByHand, others.HintedStudent, (X, LABELS)),
    "mean_teacher": Case(others.MeanTeacherByHand, others.MeanTeacher, (X, LABELS)),
    "forward_forward": Case(others.ForwardForwardByHand, others.ForwardForward, (X, OTHER)),
    "sharp": Case(others.SharpByHand, others.SharpClassifier, (X, LABELS)),
    "captioning": Case(others.CaptioningByHand, others.Captioning, (X, CAPTIONS)),
}


def _lines(cls):
    source = inspect.getsource(cls).splitlines()
    return sum(1 for line in source if line.strip() and not line.strip().startswith(("#", '"""')))
