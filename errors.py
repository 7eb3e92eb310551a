"""The one exception for what a user can put right."""


class UserError(Exception):
    """A mistake in the input: its message is one sentence that names the cause and the cure."""
