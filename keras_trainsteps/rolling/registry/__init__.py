"""Immutable numbered versions and the aliases that point at them."""
