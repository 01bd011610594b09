from ct_vae.config import windows as configured
from ct_vae.evaluation import windows


def test_errors_are_judged_in_the_windows_that_a_configuration_can_name():
    assert windows.WINDOWS is configured.WINDOWS
    assert windows.Window is configured.Window
    assert windows.parse_window is configured.parse_window
