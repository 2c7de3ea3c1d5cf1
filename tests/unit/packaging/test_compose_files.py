"""What compose.yaml mounts agrees with what it is taken from."""

import re

from tests.support.fix_relay import ROOT
from tests.support.fix_rights import documented_permissions, documented_runner_permissions

QUOTED = re.compile(r'"([^"\n]+)"')


def given(user: str) -> set[str]:
    """Return what a user of compose's NATS may publish and subscribe to."""
    text = (ROOT / "compose/nats.conf").read_text("utf-8")
    found = re.search(rf"user: {user},.*?\n        permissions: (\{{.*?\n        \}})\n", text, re.DOTALL)
    assert found is not None, f"{user} has every right"
    return set(QUOTED.findall(found[1]))


def test_the_relay_of_compose_has_the_documented_rights_and_those_for_its_stream() -> None:
    own = {f"$JS.API.STREAM.{verb}.ORDERS" for verb in ("CREATE", "UPDATE")}
    assert given("relay") == {*QUOTED.findall(documented_permissions("orders.>")), *own}


def test_the_read_model_of_compose_has_the_documented_rights_without_that_for_a_watermark() -> None:
    assert "WATERMARK" not in (ROOT / "compose.yaml").read_text("utf-8")
    assert given("shop") == set(QUOTED.findall(documented_runner_permissions())) - {"$JS.API.STREAM.NAMES"}


def test_nobody_else_is_let_into_nats() -> None:
    text = (ROOT / "compose/nats.conf").read_text("utf-8")
    assert re.findall(r"user: (\w+)", text) == ["shop", "relay"]


def test_every_file_that_is_mounted_is_there() -> None:
    mounted = re.findall(r"^      - \./([^:]+):", (ROOT / "compose.yaml").read_text("utf-8"), re.MULTILINE)
    assert mounted
    assert [path for path in mounted if not (ROOT / path).is_file()] == []


def test_every_port_is_published_on_this_machine_alone() -> None:
    published = re.findall(r'^      - "([^"]*:\d+)"$', (ROOT / "compose.yaml").read_text("utf-8"), re.MULTILINE)
    assert len(published) == 5
    assert all(one.startswith("127.0.0.1:") for one in published)
