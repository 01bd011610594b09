"""A rich console for tables and progress bars, with control characters escaped."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ct_vae.errors import printable


class SafeConsole(Console):
    """A rich console that escapes control characters but keeps styles.

    Newlines are kept for the layout; escape names in table cells with `printable` first.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render like rich, with the text of every segment escaped."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text == "\n":
                yield segment
            else:
                lines = [printable(line) for line in segment.text.split("\n")]
                yield Segment("\n".join(lines), segment.style)
