"""What is checked and prepared before Keras takes over, and what surrounds a run of steps."""

from keras_trainsteps.fitting.accumulation import require_accumulates as require_accumulates
from keras_trainsteps.fitting.accumulation import require_no_replicas as require_no_replicas
from keras_trainsteps.fitting.accumulation import warn_of_dropped as warn_of_dropped
from keras_trainsteps.fitting.arguments import as_metric_objects as as_metric_objects
from keras_trainsteps.fitting.arguments import build_optimizer as build_optimizer
from keras_trainsteps.fitting.arguments import require_batch_size as require_batch_size
from keras_trainsteps.fitting.arguments import require_not_fitting as require_not_fitting
from keras_trainsteps.fitting.arguments import (
    require_supported_strategy as require_supported_strategy,
)
from keras_trainsteps.fitting.arguments import (
    require_targets_of_weights as require_targets_of_weights,
)
from keras_trainsteps.fitting.masks import warn_of_unmasked as warn_of_unmasked
from keras_trainsteps.fitting.micro_batches import as_micro_batches as as_micro_batches
from keras_trainsteps.fitting.micro_batches import require_layers_of as require_layers_of
from keras_trainsteps.fitting.objectives import (
    require_aims_for_replicas as require_aims_for_replicas,
)
from keras_trainsteps.fitting.objectives import require_callbacks as require_callbacks
from keras_trainsteps.fitting.objectives import (
    require_named_optimizers as require_named_optimizers,
)
from keras_trainsteps.fitting.objectives import require_nothing_added as require_nothing_added
from keras_trainsteps.fitting.objectives import require_one_optimizer as require_one_optimizer
from keras_trainsteps.fitting.objectives import require_only_objectives as require_only_objectives
from keras_trainsteps.fitting.objectives import require_whole as require_whole
from keras_trainsteps.fitting.readers import QueryReaders as QueryReaders
from keras_trainsteps.fitting.training import Training as Training
from keras_trainsteps.fitting.training import epoch_kept as epoch_kept
from keras_trainsteps.fitting.training import fit_running as fit_running
from keras_trainsteps.fitting.training import guarded_runs as guarded_runs
from keras_trainsteps.fitting.training import of_one_thread as of_one_thread
