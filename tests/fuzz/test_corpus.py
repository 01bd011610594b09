"""What fuzzing starts from and what it once found, replayed without a fuzzer."""

from pathlib import Path

import pytest

from tests.fuzz.parsers import PARSERS
from tests.fuzz.seeds import SEEDS

CORPUS = Path(__file__).with_name("corpus")
FOUND = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_is_mended(tmp_path, path):
    PARSERS[path.parent.name](path.read_bytes(), tmp_path)


@pytest.mark.parametrize("name", PARSERS)
def test_seeds_pass_whole_cut_and_changed(tmp_path, name):
    for seed in SEEDS[name]():
        PARSERS[name](seed, tmp_path)
        for at in range(0, len(seed), max(1, len(seed) // 7)):
            PARSERS[name](seed[:at], tmp_path)
            PARSERS[name](seed[:at] + bytes([seed[at] ^ 0x41]) + seed[at + 1 :], tmp_path)
