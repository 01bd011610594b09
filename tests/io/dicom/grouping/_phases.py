"""Images of several phases at the same positions."""

from tests.io.dicom.grouping._images import stack


def phases(attributes, count=3, n=12, *, instance=None, cut=0, **changes):
    """``attributes`` by name from phase and slice; the last phase lacks ``cut`` slices."""
    images = []
    for phase in range(count):
        kept = n - (cut if phase == count - 1 else 0)
        images += stack(
            kept,
            prefix=f"p{phase}_",
            attributes={m: lambda k, p=phase, v=v: v(p, k) for m, v in attributes.items()},
            instance=(lambda k, p=phase: instance(p, k)) if instance else None,
            **changes,
        )
    return images


def clock(seconds):
    return f"{seconds // 3600 % 24:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}"
