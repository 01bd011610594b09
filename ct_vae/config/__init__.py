"""Pydantic models of the configuration files; never imports torch."""
