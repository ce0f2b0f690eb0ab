"""The function that a rehearsal is a start of: see runtime_rehearsal.py."""


def handler(event: object, _context: object) -> object:
    """Answers with its event."""
    return event
