"""Doing the work: private data, models and heads, fine-tuning, probing, a turn, the Ray pool."""
