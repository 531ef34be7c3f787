"""What a model is on disk: what serves, and what trains on."""
