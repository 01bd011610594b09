"""Fuzz one parser: ``python -m tests.fuzz.run PARSER [options of libFuzzer]``.

Found inputs that crash are written into the working folder by libFuzzer; those that are mended go
into ``corpus/PARSER``, where the suite replays them.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["ct_vae"]):
    from tests.fuzz.parsers import PARSERS
    from tests.fuzz.seeds import SEEDS

CORPUS = Path(__file__).with_name("corpus")


def main() -> None:
    """Fuzz from the seeds and what was found before."""
    name, *options = sys.argv[1:]
    warnings.simplefilter("ignore")
    logging.disable()
    with TemporaryDirectory(prefix="fuzz_") as place:
        work, growing = Path(place) / "work", Path(place) / "corpus"
        work.mkdir()
        growing.mkdir()
        os.chdir(work)
        for k, seed in enumerate(SEEDS[name]()):
            (growing / f"seed{k}").write_bytes(seed)
        parser = PARSERS[name]
        inside = work / "input"
        inside.mkdir()
        known = CORPUS / name
        places = [str(growing), *([str(known)] if known.is_dir() else [])]
        limits = [
            "-timeout=30",
            "-report_slow_units=60",
            "-rss_limit_mb=3072",
            "-max_len=40000",
            "-len_control=0",
        ]
        atheris.Setup([sys.argv[0], *limits, *options, *places], lambda data: parser(data, inside))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
