"""The paper's experiments on training (Figs. 3, 4, 5 and 7 of arXiv:2510.00504), as plain data.

One module a figure, with the same names in each: ``Scale`` (sizes and settings) with its instances
``SMALL`` and ``PAPER``, ``plan`` (the runs), ``perform`` (one run, which returns a record of plain
JSON values) and ``cost`` (roughly its seconds). A run is one curve: it makes its data and its
initial network again from its seed, so runs can be done in any order, in any process, and one by
one after an interruption; all curves of a seed have the same start and the same mini-batches.

Nothing is imported here: see ``catalogue``.
"""
