"""The report: one self-contained page about a federation, or about a run of one on this machine."""
