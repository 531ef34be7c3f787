"""Sums over the pairs of rows of each query."""

from .kernels import HINGE as HINGE
from .kernels import LOGISTIC as LOGISTIC
from .kernels import SOFT_ZERO_ONE as SOFT_ZERO_ONE
from .kernels import SQUARED_ERROR as SQUARED_ERROR
from .kernels import SQUARED_HINGE as SQUARED_HINGE
from .kernels import PairKernel as PairKernel
from .rules import PairFactor as PairFactor
from .sums import pair_sums as pair_sums
