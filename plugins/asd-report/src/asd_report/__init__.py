"""Explanations and reports of asd."""
