"""Clicks as labels: what a position adds to them, and how to take it off again."""
