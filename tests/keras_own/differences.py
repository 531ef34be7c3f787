"""Tests of Keras that differ on our models, and why each may."""

_SAYS_WHICH = (
    "losses for an output that is not there are refused as `ValueError`, with the names that fit "
    "and those that do not"
)

_HOLDS_THE_NAME = "a converted file holds the name of the model's class, which is longer"

REASONS = {
    "callbacks/tensorboard_test.py::TestTensorBoardV2::test_TensorBoard_projector_callback": (
        "targets without the last axis get it, where Keras takes it off the output: a loss with "
        "`from_logits=True` finds the logits below a sigmoid, as it does in Keras for targets "
        "that have the axis; there the sigmoid is applied twice"
    ),
    "models/functional_test.py::FunctionalTest::test_input_dict_with_extra_field": (
        "entries of `x` reach inputs by their names, so that one too many does no harm"
    ),
    "models/model_test.py::ModelTest::test_functional_dict_outputs_dict_losses_invalid_keys": (
        _SAYS_WHICH
    ),
    "models/model_test.py::ModelTest::test_functional_list_outputs_dict_losses_invalid_keys": (
        _SAYS_WHICH
    ),
    "models/model_test.py::ModelTest::test_functional_list_outputs_dict_losses_no_output_names": (
        _SAYS_WHICH
    ),
    "models/model_test.py::ModelTest::test_functional_list_outputs_invalid_nested_list_losses": (
        "two losses on one output are two terms; Keras adds both up under one name"
    ),
    "trainers/trainer_test.py::TestTrainer::test_loss_scaling_prevents_underflow": (
        "it sets an attribute `layers`, which every `keras.Model` keeps for itself"
    ),
    "trainers/trainer_test.py::TestTrainer::test_loss_weights": (
        "the same loss on two outputs without names is two terms, by place; Keras logs both "
        "under one name, so that the second hides the first"
    ),
    "trainers/trainer_test.py::TestTrainer::test_metric_tracking": (
        "a metric of the model that no step updates is not logged, where Keras logs it as 0"
    ),
    "trainers/trainer_test.py::TestTrainer::test_retracing": "a step is traced once, not twice",
    "trainers/trainer_test.py::TestTrainer::test_symbolic_build": (
        "it looks at a private object of Keras that adds up losses, which is not used here"
    ),
    # Of the other folders:
    (
        "export/litert_test.py::ExportLitertInterpreterTest"
        "::test_export_optimization_file_size_comparison"
    ): _HOLDS_THE_NAME,
    "export/litert_test.py::ExportLitertInterpreterTest::test_export_with_multiple_kwargs": (
        _HOLDS_THE_NAME
    ),
    "trainers/data_adapters/py_dataset_adapter_test.py::PyDatasetAdapterTest::test_speedup": (
        "it measures seconds"
    ),
}
