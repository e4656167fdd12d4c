"""Reports for people: the demo and its page."""
