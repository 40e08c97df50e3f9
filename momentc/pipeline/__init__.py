"""From a weighted set, or what a stream has left of one, to a checked result."""
