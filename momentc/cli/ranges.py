"""Lists of numbers as a person types them."""

from momentc.cli.text import integer_of
from momentc.errors import UsageError

__all__ = ["parse_doublings", "parse_numbers", "parse_words"]


def parse_numbers(option: str, text: str | None, *, least: int = 1) -> tuple[int, ...]:
    """Return the numbers of ``1:6`` (both ends included), ``200,500`` or ``1:4,8``.

    Parameters
    ----------
    option : str
        Its name, for the message.
    text : str or None
        None gives no numbers.
    least : int
        The smallest that may be.

    Raises
    ------
    UsageError
    """
    return _parse(option, text, doubling=False, least=least)


def parse_doublings(option: str, text: str | None) -> tuple[int, ...]:
    """Return the numbers of ``1000:8000`` (1000, 2000, 4000, 8000) or ``1000,5000``."""
    return _parse(option, text, doubling=True)


def parse_words(text: str | None) -> tuple[str, ...]:
    """Return the words of a list with commas."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _parse(option: str, text: str | None, *, doubling: bool, least: int = 1) -> tuple[int, ...]:
    if text is None:
        return ()
    found: list[int] = []
    for part in text.split(","):
        first, colon, last = part.strip().partition(":")
        low, high = integer_of(first), integer_of(last if colon else first)
        if low is None or high is None or not least <= min(low, high) <= max(low, high) < 10**12:
            raise UsageError(
                f"{option} is {text!r}; expected numbers above {least - 1} as 1,2,5 or "
                + ("1000:16000 (which doubles)" if doubling else "1:6 (with both ends)")
            )
        if low > high or (not doubling and high - low > 10_000):
            raise UsageError(f"{option} is {text!r}; in {part.strip()} the range is empty or huge")
        while low <= high:
            found.append(low)
            low = 2 * low if doubling else low + 1
    return tuple(dict.fromkeys(found))
