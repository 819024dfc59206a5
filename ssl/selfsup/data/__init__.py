"""Data: random-access sources, the order of examples, and the feeds of the step."""
