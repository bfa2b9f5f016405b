"""What a handler raises to say how its attempt ended."""


class HandlerError(Exception):
    """The root of the errors that handlers raise on purpose."""


class PermanentError(HandlerError):
    """No further attempt can succeed: the task fails now."""


class RetryError(HandlerError):
    """Try again, after `delay_s` seconds if given, else by back-off.

    `counts=False`: the trouble is not the task's, and the attempt is not held against it.
    """

    def __init__(self, message: str, delay_s: float | None = None, *, counts: bool = True) -> None:
        super().__init__(message)
        self.delay_s = delay_s
        self.counts = counts


class LeaseLostError(HandlerError):
    """This worker may no longer hold the task: begin nothing that has an effect outside."""
