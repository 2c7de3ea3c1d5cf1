"""All shards as cells of eight by eight, each in the colour and with the letter of its owner."""

from collections.abc import Sequence

from markupsafe import Markup

from relay.console.owners import Owner
from relay.operate.status import Shard
from relay.text import age, printable

_SIDE, _ROW = 40, 8
_COLOURS = 6


def letter(number: int) -> str:
    """Return how an owner is called in the picture: A, B, and so on; after Z again from A with a number."""
    return chr(ord("A") + number % 26) + ("" if number < 26 else str(number // 26))


def shard_cells(shards: Sequence[Shard], owners: Sequence[Owner]) -> Markup:
    """Draw the shards; what nobody holds has no letter."""
    number_of = {one.name: one.number for one in owners if one.name is not None}
    rows = -(-len(shards) // _ROW)
    told = f"{len(shards)} shards: " + ", ".join(
        f"{one.shards} of {'nobody' if one.name is None else letter(one.number)}" for one in owners
    )
    parts = [Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(_ROW * _SIDE, rows * _SIDE, told)]
    for place, shard in enumerate(shards):
        x, y = place % _ROW * _SIDE, place // _ROW * _SIDE
        number = number_of[shard.owner] if shard.held and shard.owner is not None else None
        parts.append(
            Markup(
                '<g class="cell"><title>{}</title><rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="4"/>'
                '<text x="{}" y="{}" text-anchor="middle">{}</text></g>'
            ).format(
                _title(shard),
                "free" if number is None else f"o{number % _COLOURS}",
                x + 2,
                y + 2,
                _SIDE - 4,
                _SIDE - 4,
                x + _SIDE / 2,
                y + _SIDE / 2 + 4,
                "" if number is None else letter(number),
            )
        )
    return Markup("").join([*parts, Markup("</svg>")])


def _title(shard: Shard) -> str:
    held = f"{shard.owner}, lease {age(shard.lease_left_s or 0.0)} left" if shard.held else "nobody"
    return f"shard {shard.number}: {printable(held)}, watermark {shard.watermark:,}"
