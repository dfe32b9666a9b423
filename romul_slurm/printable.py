"""What a terminal may be sent of texts that somebody else wrote: no escape codes."""


def printable(text: str) -> str:
    """Return a text in which question marks stand for all that is not printable, but for lines."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
