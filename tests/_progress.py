"""A listener to reports of progress."""


class Recorder:
    """A listener that keeps all reports."""

    def __init__(self):
        self.reports = []

    def case(self, *values):
        self.reports.append(values)

    def stage(self, *values):
        self.reports.append(values)

    def fraction(self, value):
        self.reports.append(value)
