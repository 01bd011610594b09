"""Compressed frames of a slice."""

import base64

# 12 x 10 numbers from 300 to 1799, encoded by CharLS and OpenJPH.
JPEG_LS = base64.b64decode(
    "/9j/6AAgU1BJRkYAAgAAAQAAAAwAAAAKChAGAQAAASwAAAEs/+gACAAAAAH/2P/3AAsQAAwACgEBEQD/+AANAf//"
    "ABIAQwEUAED/2gAIAQEAAAAAZXiTEeRZDoM/ns7nMtolRIkaRKFQJ9PIlS2nU4trSysK6siRLSqqKakoqCenpGrK"
    "ctWrFixWrSJWFSpUqUqVKlQquoUKFChOnTqBrJ06dMmTJkyfaqZMmTKqqqp5qKqqqqKKKJ1pqKKKKJpppxpJpppp"
    "ppprYP/Z"
)
