"""Saving, resuming and locking of runs."""
