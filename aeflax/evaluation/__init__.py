"""Evaluation over a whole split, and baselines beside it."""
