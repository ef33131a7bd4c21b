"""The service's errors: one small tree."""

from traceback import extract_tb


class RelayError(Exception):
    """The base class of every error that this service raises on purpose."""


class SettingError(RelayError):
    """A setting is missing or out of range; the message names it and says what was expected."""


class Unavailable(RelayError):
    """A dependency did not answer in time, or with an error. A write may or may not have happened."""


class Unreadable(Unavailable):
    """A stored record that this version can't read: damaged, or a newer version's."""


class InvalidMessage(RelayError):
    """A queue message that no version of this service can have written."""


def described(error: BaseException) -> str:
    """Return a text that may be logged: a `RelayError`'s own text, else the error's type and source line.

    Other errors' texts are left out, because they may contain a key or a message's text.
    """
    if isinstance(error, RelayError):
        return str(error)
    frames = extract_tb(error.__traceback__)
    return (
        f"{type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}"
        if frames
        else repr(type(error))
    )
