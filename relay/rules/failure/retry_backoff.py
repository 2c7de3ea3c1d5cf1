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
    # 2 ** 60 is past any pause; the bound keeps the power from overflowing a float.
    whole = min(max_s, base_s * 2.0 ** min(attempt - 1, 60))
    return whole * (1 - chance / 2)
