"""Rows that pass by: cells in bounded memory, states that merge, the plan under a budget."""
