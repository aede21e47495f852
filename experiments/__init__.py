"""Asking questions: whole federations from one config, on this machine or a cluster, and their reports."""
