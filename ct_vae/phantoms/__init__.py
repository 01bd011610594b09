"""Generated anatomy for tests, demonstrations and the quickstart."""
