"""Serve a model without its loss, and update it day after day."""

from keras_trainsteps.rolling.blessing import Blessing as Blessing
from keras_trainsteps.rolling.blessing import Check as Check
from keras_trainsteps.rolling.gate import evaluate_candidate as evaluate_candidate
from keras_trainsteps.rolling.inference import load_for_inference as load_for_inference
from keras_trainsteps.rolling.inference import save_for_inference as save_for_inference
from keras_trainsteps.rolling.model_state import ModelState as ModelState
from keras_trainsteps.rolling.model_state import save_for_training as save_for_training
from keras_trainsteps.rolling.publish import load_published as load_published
from keras_trainsteps.rolling.publish import publish_model as publish_model
from keras_trainsteps.rolling.registry import ModelRegistry as ModelRegistry
from keras_trainsteps.rolling.report import WarmStartReport as WarmStartReport
from keras_trainsteps.rolling.resumable import ResumableBatches as ResumableBatches
from keras_trainsteps.rolling.resumable import resumable_batches as resumable_batches
from keras_trainsteps.rolling.resume import ResumableCheckpoint as ResumableCheckpoint
from keras_trainsteps.rolling.scorer import fingerprint as fingerprint
from keras_trainsteps.rolling.serving import export_serving as export_serving
from keras_trainsteps.rolling.thresholds import ChangeThreshold as ChangeThreshold
from keras_trainsteps.rolling.thresholds import Stability as Stability
from keras_trainsteps.rolling.thresholds import ValueThreshold as ValueThreshold
from keras_trainsteps.rolling.update import RollingUpdate as RollingUpdate
from keras_trainsteps.rolling.update import UpdateReport as UpdateReport
from keras_trainsteps.rolling.update import Window as Window
from keras_trainsteps.rolling.versions import Version as Version
from keras_trainsteps.rolling.vocabulary import VocabularyMap as VocabularyMap
from keras_trainsteps.rolling.warm_start import warm_start as warm_start
