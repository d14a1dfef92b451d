"""The recipe ``machines``: compare whole pipelines over many machines, with real and with generated faults."""
