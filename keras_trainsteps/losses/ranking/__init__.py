"""Ranking losses by query id."""
