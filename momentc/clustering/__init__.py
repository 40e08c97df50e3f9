"""Which points belong together: k-means, greedy smallest groups, cells, equal rows."""
