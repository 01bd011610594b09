"""NIfTI: headers, affines and volumes."""
