"""Serve a model without its loss, and update it day after day."""

from keras_trainsteps.rolling.artifacts.inference import load_for_inference, save_for_inference
from keras_trainsteps.rolling.artifacts.model_state import ModelState, save_for_training
from keras_trainsteps.rolling.artifacts.publish import load_published, publish_model
from keras_trainsteps.rolling.artifacts.scorer import fingerprint
from keras_trainsteps.rolling.artifacts.serving import export_serving
from keras_trainsteps.rolling.gate.evaluate import evaluate_candidate
from keras_trainsteps.rolling.gate.thresholds import ChangeThreshold, Stability, ValueThreshold
from keras_trainsteps.rolling.registry.blessing import Blessing, Check
from keras_trainsteps.rolling.registry.registry import ModelRegistry
from keras_trainsteps.rolling.registry.versions import Version
from keras_trainsteps.rolling.resume.batches import ResumableBatches, resumable_batches
from keras_trainsteps.rolling.resume.job import ResumableJob
from keras_trainsteps.rolling.update import RollingUpdate, UpdateReport, Window
from keras_trainsteps.rolling.warm_start.report import WarmStartReport
from keras_trainsteps.rolling.warm_start.start import warm_start
from keras_trainsteps.rolling.warm_start.vocabulary import VocabularyMap

__all__ = [
    "Blessing",
    "ChangeThreshold",
    "Check",
    "ModelRegistry",
    "ModelState",
    "ResumableBatches",
    "ResumableJob",
    "RollingUpdate",
    "Stability",
    "UpdateReport",
    "ValueThreshold",
    "Version",
    "VocabularyMap",
    "WarmStartReport",
    "Window",
    "evaluate_candidate",
    "export_serving",
    "fingerprint",
    "load_for_inference",
    "load_published",
    "publish_model",
    "resumable_batches",
    "save_for_inference",
    "save_for_training",
    "warm_start",
]
