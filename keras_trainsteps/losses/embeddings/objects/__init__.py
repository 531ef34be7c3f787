"""The losses of embeddings as objects for `LossAwareModel.compile(loss=...)`."""
