"""The layouts, names and labels of published data sets."""
