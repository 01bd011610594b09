"""Drawn objects of known size and HU, through a model and measured again."""
