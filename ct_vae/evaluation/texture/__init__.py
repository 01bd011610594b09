"""Noise texture: noise power spectra in flat regions."""
