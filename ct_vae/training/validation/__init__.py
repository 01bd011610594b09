"""Validation of a model during training, on whole volumes or patches."""
