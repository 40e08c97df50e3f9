"""Files: the only place of momentc that opens any."""
