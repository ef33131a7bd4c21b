"""The service's errors: one small tree."""

from traceback import extract_tb


class RelayError(Exception):
    """Anything that this service raises on purpose."""


class SettingError(RelayError):
    """A setting is missing or out of range; the message names it and says what was expected."""


class Unavailable(RelayError):
    """A dependency did not answer in time, or refused. Whether a write landed is not known."""


class Unreadable(Unavailable):
    """A stored record that this version can't read: damaged, or a newer version's."""


class InvalidMessage(RelayError):
    """A queue message that no version of this service can have written."""


def described(error: BaseException) -> str:
    """Return what may be logged: our own errors as they are, of others the type and the place.

    What they say may repeat what they were given: a key, or a message's text.
    """
    if isinstance(error, RelayError):
        return str(error)
    frames = extract_tb(error.__traceback__)
    return (
        f"{type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}"
        if frames
        else repr(type(error))
    )
