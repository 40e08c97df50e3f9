"""Fewer points with the same moments: Algorithm 2 on groups, and corrections of weights."""
