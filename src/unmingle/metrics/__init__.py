"""Formulas: scores of estimates, the best permutation, what a network costs."""
