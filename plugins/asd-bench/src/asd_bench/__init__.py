"""Data sets and benchmarks for asd."""
