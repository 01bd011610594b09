"""Logs, progress, curves, images and the summary of a run."""
