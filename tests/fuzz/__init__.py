"""Random models with random losses, against a float64 computation of what is documented.

`configurations` says what is drawn, `models` builds it with the library, `plain` computes it
anew from the formulas, and `check` compares every weight and every log.

`python -m tests.fuzz --seed 1 --count 100` tries others than the tests do.
"""
