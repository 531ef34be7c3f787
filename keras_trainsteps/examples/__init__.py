"""The main jobs on real data, one file each, run as `python -m keras_trainsteps.examples.NAME`."""
