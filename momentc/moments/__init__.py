"""Moments: multi-indices, the affine frame, features, sums, and how far two sets are apart."""
