import pytest


@pytest.fixture
def pictured():
    """Has runs draw their pictures in this test."""


@pytest.fixture(autouse=True)
def _spare_pictures(request, monkeypatch):
    """Elsewhere none are drawn: they take longer than all else that a small run does."""
    if "pictured" not in request.fixturenames:
        monkeypatch.setattr("ct_vae.training.checkpoints.save_model.draw_pictures", lambda *_: [])
