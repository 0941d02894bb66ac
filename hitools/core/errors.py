"""The one exception for what the user can mend: commands turn it into a line and exit status 2."""


class InputError(Exception):
    """Bad input or bad usage. The message is one line: file, place, what was expected."""


class OthersError(InputError):
    """Bad input that another process found, which tells it."""
