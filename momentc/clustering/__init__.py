"""Which points belong together: k-means, greedy smallest groups, equal rows."""
