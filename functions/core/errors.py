"""The service's errors: one small tree."""


class RelayError(Exception):
    """Anything that this service raises on purpose."""


class SettingError(RelayError):
    """A setting is missing or out of range; the message names it and says what was expected."""


class Unavailable(RelayError):
    """A dependency did not answer in time, or refused. Whether a write landed is not known."""


class InvalidMessage(RelayError):
    """A queue message that no version of this service can have written."""
