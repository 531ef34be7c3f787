"""The ranking losses as objects for `LossAwareModel.compile(loss=...)`."""
