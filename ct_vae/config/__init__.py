"""Pydantic models of the one JSON file; never imports torch."""
