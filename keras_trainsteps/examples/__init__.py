"""The main jobs on real data; run one as `python -m keras_trainsteps.examples.NAME`."""
