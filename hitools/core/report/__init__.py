"""All checks of a sample in one pass, and the page that shows them (hi-report)."""
