"""Autoencoders put together from blocks, their building and their weights."""
