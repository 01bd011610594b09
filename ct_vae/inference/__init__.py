"""Whole volumes through a model."""
