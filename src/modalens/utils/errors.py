"""The one error that is the user's to mend."""


class UserError(Exception):
    """A mistake of the user's: what is wrong, where, and what to do, in one line. Never shown with a traceback."""
