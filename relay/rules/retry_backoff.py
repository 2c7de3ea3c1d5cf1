"""When a failed attempt is made again. Pure: chance is handed in."""


def backoff(attempt: int, base_s: float, max_s: float, chance: float) -> float:
    """Return the pause before the next try: doubling from `base_s` to `max_s`, less a random part of at most half.

    Args:
        attempt: How often it has failed, from 1.
        base_s: Pause after the first failure, seconds.
        max_s: Longest pause, seconds.
        chance: A random number in [0, 1).

    Returns:
        Seconds, in (0, max_s].
    """
    return _whole(attempt, base_s, max_s) * (1 - chance / 2)


def scattered(attempt: int, base_s: float, max_s: float, chance: float) -> float:
    """Return the pause before a server is tried again: by chance between 0 and what doubles from `base_s` to `max_s`.

    Those who lost it together do not come back together.

    Args:
        attempt: How often it has failed, from 1.
        base_s: The longest pause after the first failure, seconds.
        max_s: The longest pause, seconds.
        chance: A random number in [0, 1).

    Returns:
        Seconds, in [0, max_s).
    """
    return _whole(attempt, base_s, max_s) * chance


def _whole(attempt: int, base_s: float, max_s: float) -> float:
    # 2 ** 60 is past any pause; the bound keeps the power from overflowing a float.
    return min(max_s, base_s * 2.0 ** min(attempt - 1, 60))
