"""Serve a model without its loss, and update it day after day."""

from keras_trainsteps.rolling.artifacts.inference import load_for_inference as load_for_inference
from keras_trainsteps.rolling.artifacts.inference import save_for_inference as save_for_inference
from keras_trainsteps.rolling.artifacts.model_state import ModelState as ModelState
from keras_trainsteps.rolling.artifacts.model_state import save_for_training as save_for_training
from keras_trainsteps.rolling.artifacts.publish import load_published as load_published
from keras_trainsteps.rolling.artifacts.publish import publish_model as publish_model
from keras_trainsteps.rolling.artifacts.scorer import fingerprint as fingerprint
from keras_trainsteps.rolling.artifacts.serving import export_serving as export_serving
from keras_trainsteps.rolling.gate.evaluate import evaluate_candidate as evaluate_candidate
from keras_trainsteps.rolling.gate.thresholds import ChangeThreshold as ChangeThreshold
from keras_trainsteps.rolling.gate.thresholds import Stability as Stability
from keras_trainsteps.rolling.gate.thresholds import ValueThreshold as ValueThreshold
from keras_trainsteps.rolling.registry.blessing import Blessing as Blessing
from keras_trainsteps.rolling.registry.blessing import Check as Check
from keras_trainsteps.rolling.registry.registry import ModelRegistry as ModelRegistry
from keras_trainsteps.rolling.registry.versions import Version as Version
from keras_trainsteps.rolling.resume.batches import ResumableBatches as ResumableBatches
from keras_trainsteps.rolling.resume.batches import resumable_batches as resumable_batches
from keras_trainsteps.rolling.resume.job import ResumableJob as ResumableJob
from keras_trainsteps.rolling.update import RollingUpdate as RollingUpdate
from keras_trainsteps.rolling.update import UpdateReport as UpdateReport
from keras_trainsteps.rolling.update import Window as Window
from keras_trainsteps.rolling.warm_start.report import WarmStartReport as WarmStartReport
from keras_trainsteps.rolling.warm_start.start import warm_start as warm_start
from keras_trainsteps.rolling.warm_start.vocabulary import VocabularyMap as VocabularyMap
