"""Bodies of steps written for Keras 2, and steps written by hand."""
