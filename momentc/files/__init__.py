"""Whole jobs on files, one function per command: what the command line calls.

Each job opens its input, plans, calls the mathematics, writes and reports. The modules are
imported one by one by whoever needs them; together they would load every numerical library.
"""
