"""Says what to install where scikit-learn is not."""

try:
    from sklearn.utils.validation import validate_data as validate_data  # since 1.6
except ImportError as error:
    raise ImportError(
        "`keras_trainsteps.sklearn` needs scikit-learn 1.6 or later, which is not installed. The "
        "extra `sklearn` brings it: `pip install 'keras-trainsteps[sklearn]'`."
    ) from error
