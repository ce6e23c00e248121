"""What the scripts say: plain lines on stderr, and one kind of error that ends it."""

import sys


PROGRAM = "setup"  # which of the programs speaks


class SetupError(Exception):
    """A reason why the set-up cannot go on: what is wrong, and (`hint`) what to do."""

    def __init__(self, message, hint=None):
        super().__init__(message)
        self.hint = hint


class NoNetwork(SetupError):
    """What should be fetched cannot be reached."""


def say(message):
    print(f"{PROGRAM}: {message}", file=sys.stderr, flush=True)


def say_error(error):
    print(f"{PROGRAM}: error: {error}", file=sys.stderr)
    for line in (error.hint or "").splitlines():
        print(f"{PROGRAM}: hint: {line}", file=sys.stderr)
