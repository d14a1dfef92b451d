"""The command line of asd."""
