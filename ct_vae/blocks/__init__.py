"""Building blocks of 1-D, 2-D and 3-D networks, based on MONAI's layer factories."""
