import io

from rich.table import Table
from rich.text import Text

from ct_vae.console import SafeConsole
from ct_vae.terminal import printable


def test_a_console_escapes_text_and_tables_and_keeps_its_own_styles():
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=True, width=80, color_system="standard")
    table = Table("name", title=Text("t\x1b]0;owned\x07"))
    table.add_row(Text(printable("c\x1b[2J")))
    table.add_row(Text("d\x1b[3J"))
    console.print(table)
    console.print(Text("red\x1b[1m", style="red"))
    text = file.getvalue()
    assert "\\x1b[2J" in text
    assert "\x1b[31mred\\x1b[1m\x1b[0m" in text
    assert "\x1b]" not in text
    assert "\x07" not in text
