"""Text headers of MetaImage and NRRD files."""

import numpy as np

META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "DimSize": "2 3 4",
    "ElementSpacing": "1 1 1",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}


NRRD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "2 3 4",
    "space directions": "(1,0,0) (0,1,0) (0,0,1)",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(0,0,0)",
}


def header_of(changes, base):
    changed = {key: value for key, value in (base | changes).items() if value is not None}
    if base is META:
        changed["ElementDataFile"] = changed.pop("ElementDataFile", "LOCAL")
        return "".join(f"{key} = {value}\n" for key, value in changed.items()).encode()
    return b"NRRD0004\n" + "".join(f"{k}: {v}\n" for k, v in changed.items()).encode() + b"\n"


VALUES = np.arange(-12, 12, dtype=np.int16) * 50
