"""Tests of Keras that differ on our models, and why each may."""

REASONS = {}
