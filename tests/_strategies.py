"""Hypothesis strategies that several test modules draw from."""

import itertools

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ct_vae.grid import Grid

ALL_AXCODES = [
    "".join(codes)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for codes in itertools.product(*axes)
]

axcodes = st.sampled_from(ALL_AXCODES)
sides = st.tuples(*[st.integers(1, 40)] * 3)
factors = st.tuples(*[st.sampled_from([1, 2, 3, 4, 8])] * 3)


@st.composite
def affines(draw, shear: float = 0.0):
    """Rotations with spacing, handedness and position; ``shear`` is the largest off-axis cosine."""
    angles = draw(st.tuples(*[st.floats(-180, 180)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.1, 10)] * 3))
    flips = draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    skew = np.eye(3)
    skew[0, 1] = draw(st.floats(-shear, shear))
    affine = np.eye(4)
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine[:3, :3] = rotation @ skew @ np.diag(np.multiply(spacing, flips))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return affine


@st.composite
def grids(draw, shear: float = 0.0):
    return Grid(draw(sides), draw(affines(shear)))
