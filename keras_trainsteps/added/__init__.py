"""`add_loss` and `add_metric`: terms that come from neither the hook nor `compile`."""
