"""Latents of every kind and the types they are stored in."""

import numpy as np

from tests.io._samples import latent_of

CASES = {
    "mean": (latent_of(), "int16"),
    "exact": (latent_of(), "float32"),
    "sample": (latent_of("sample"), "int16"),
    "one channel": (latent_of(channels=1), "int16"),
    "codes": (latent_of("codes"), "int16"),
    "many codes": (latent_of("codes", array=np.full((3, 4, 5), 70000)), "int16"),
    "2-D model": (latent_of(factor=(4, 4, 1), shape=(3, 4, 9)), "int16"),
    "constant": (latent_of(array=np.full((4, 3, 4, 5), 2.5, np.float32)), "int16"),
}
