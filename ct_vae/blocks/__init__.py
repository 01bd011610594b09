"""Network units of any dimension, on MONAI layer factories."""
