"""Encoding and decoding of whole volumes."""
