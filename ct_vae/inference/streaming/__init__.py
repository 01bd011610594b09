"""Exact streaming: slabs of a volume pass through the network operator by operator."""
