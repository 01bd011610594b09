from ct_vae.evaluation.metrics.tissue_bands import TISSUE_BANDS


def bands_of(hu):
    return [band.name for band in TISSUE_BANDS if band.low <= hu <= band.high]


def test_every_whole_hu_belongs_to_one_band_but_between_lung_and_fat():
    for hu in range(-1024, 3001):
        assert len(bands_of(hu)) == (not -501 < hu < -200), hu
    assert not bands_of(-1025)
    assert not bands_of(3001)


def test_bands_hold_what_they_are_named_after():
    named = {-1000: "air", -850: "lung", -100: "fat", 0: "fluid", 50: "soft_tissue", 700: "bone"}
    for hu, name in named.items():
        assert bands_of(hu) == [f"band_{name}"]
    assert len({band.name for band in TISSUE_BANDS}) == len(TISSUE_BANDS)
