"""What works around Keras or TensorFlow, each with its issue and the version seen.

Every private name of theirs stands in this room, and nowhere else.
"""

from keras_trainsteps.compat.backend import require_tensorflow as require_tensorflow
from keras_trainsteps.compat.functional import functional_class as functional_class
from keras_trainsteps.compat.functional import functional_twin as functional_twin
from keras_trainsteps.compat.functional import layer_of as layer_of
from keras_trainsteps.compat.functional import makes_functional as makes_functional
from keras_trainsteps.compat.functional import named_in_legacy_files as named_in_legacy_files
from keras_trainsteps.compat.functional import node_of_outputs as node_of_outputs
from keras_trainsteps.compat.functional import take_graph as take_graph
from keras_trainsteps.compat.gradients import HandGradient as HandGradient
from keras_trainsteps.compat.graphs import after as after
from keras_trainsteps.compat.graphs import after_loss as after_loss
from keras_trainsteps.compat.graphs import assign_on_replicas as assign_on_replicas
from keras_trainsteps.compat.graphs import created_outside as created_outside
from keras_trainsteps.compat.graphs import in_xla as in_xla
from keras_trainsteps.compat.graphs import loaded_when_run as loaded_when_run
from keras_trainsteps.compat.graphs import trace_only as trace_only
from keras_trainsteps.compat.graphs import traced_once as traced_once
from keras_trainsteps.compat.graphs import values_flow as values_flow
from keras_trainsteps.compat.graphs import without_exchange as without_exchange
from keras_trainsteps.compat.layers import LossLayer as LossLayer
from keras_trainsteps.compat.layers import as_weight as as_weight
from keras_trainsteps.compat.layers import forget_losses_of_calls as forget_losses_of_calls
from keras_trainsteps.compat.layers import global_random_state as global_random_state
from keras_trainsteps.compat.layers import in_call as in_call
from keras_trainsteps.compat.layers import is_keras_attribute as is_keras_attribute
from keras_trainsteps.compat.layers import losses_of_calls as losses_of_calls
from keras_trainsteps.compat.layers import mask_of as mask_of
from keras_trainsteps.compat.layers import only_shapes as only_shapes
from keras_trainsteps.compat.layers import own_losses as own_losses
from keras_trainsteps.compat.layers import stock_attributes as stock_attributes
from keras_trainsteps.compat.layers import sublayers as sublayers
from keras_trainsteps.compat.layers import tracked_layers as tracked_layers
from keras_trainsteps.compat.layers import unlocked as unlocked
from keras_trainsteps.compat.layers import with_mask as with_mask
from keras_trainsteps.compat.layers import with_mask_of as with_mask_of
from keras_trainsteps.compat.memory import (
    averages_of_what_is_trained as averages_of_what_is_trained,
)
from keras_trainsteps.compat.memory import compile_options as compile_options
from keras_trainsteps.compat.memory import each_optimizer as each_optimizer
from keras_trainsteps.compat.memory import learning_rate_schedule as learning_rate_schedule
from keras_trainsteps.compat.memory import optimized_weights as optimized_weights
from keras_trainsteps.compat.memory import optimizer_attributes as optimizer_attributes
from keras_trainsteps.compat.memory import remembered_by as remembered_by
from keras_trainsteps.compat.memory import set_direction as set_direction
from keras_trainsteps.compat.memory import unbuilt_copy as unbuilt_copy
from keras_trainsteps.compat.operations import Seen as Seen
from keras_trainsteps.compat.operations import VariableInUse as VariableInUse
from keras_trainsteps.compat.operations import draws_by_itself as draws_by_itself
from keras_trainsteps.compat.operations import handles_of as handles_of
from keras_trainsteps.compat.operations import handles_of_variable as handles_of_variable
from keras_trainsteps.compat.operations import operations_seen as operations_seen
from keras_trainsteps.compat.replays import changed_by as changed_by
from keras_trainsteps.compat.replays import kinds_of as kinds_of
from keras_trainsteps.compat.replays import losses_by_layer as losses_by_layer
from keras_trainsteps.compat.replays import random_states as random_states
from keras_trainsteps.compat.replays import set_losses_of_call as set_losses_of_call
from keras_trainsteps.compat.training import Model as Model
from keras_trainsteps.compat.training import as_in_fit as as_in_fit
from keras_trainsteps.compat.training import callbacks_in as callbacks_in
from keras_trainsteps.compat.training import called_by_fit as called_by_fit
from keras_trainsteps.compat.training import compile_metrics as compile_metrics
from keras_trainsteps.compat.training import compiles_by_itself as compiles_by_itself
from keras_trainsteps.compat.training import first_local_batch as first_local_batch
from keras_trainsteps.compat.training import is_evaluation_of_fit as is_evaluation_of_fit
from keras_trainsteps.compat.training import kind_of as kind_of
from keras_trainsteps.compat.training import length_is_known as length_is_known
from keras_trainsteps.compat.training import loss_tracker as loss_tracker
from keras_trainsteps.compat.training import may_begin_again as may_begin_again
from keras_trainsteps.compat.training import readable as readable
from keras_trainsteps.compat.training import reducible_logs as reducible_logs
from keras_trainsteps.compat.training import save_as_compiled as save_as_compiled
from keras_trainsteps.compat.training import set_loss_tracker as set_loss_tracker
from keras_trainsteps.compat.training import shapes_are_static as shapes_are_static
from keras_trainsteps.compat.training import sources_of as sources_of
from keras_trainsteps.compat.training import strategy_of as strategy_of
from keras_trainsteps.compat.training import trace as trace
from keras_trainsteps.compat.training import updated_by_two_weights as updated_by_two_weights
