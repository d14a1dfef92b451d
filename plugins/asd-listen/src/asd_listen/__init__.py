"""Listening day and night with asd."""
