"""Phantom probe: synthetic objects of known size and HU, encoded, decoded and measured."""
