"""The step of a batch, in the order of the walk."""
