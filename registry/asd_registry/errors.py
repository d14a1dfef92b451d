"""The one root of every error that a user can mend."""


class AsdError(Exception):
    """A mistake that the user can mend; its text is one line: what came, what was expected, what to do."""


class PluginError(AsdError):
    """A plugin or component that is unknown, ambiguous, broken or lacks a requirement."""
