"""Who gets the places in the air, and that none is lost."""

from __future__ import annotations

import asyncio
import random

import pytest

from operators.vlm.places import Places


def test_the_urgent_come_first_and_each_in_the_order_in_which_it_came() -> None:
    order: list[str] = []

    async def ask(places: Places, name: str) -> None:
        async with places.one(urgent=name.isupper()):
            order.append(name)
            await asyncio.sleep(0)

    async def ask_all() -> None:
        places = Places(1)
        async with places.one(urgent=False):
            waiting = [asyncio.create_task(ask(places, name)) for name in "abXcY"]
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)

    asyncio.run(ask_all())
    assert order == [*"XYabc"]


@pytest.mark.parametrize("seed", range(5))
def test_never_more_than_there_are_and_none_is_lost_with_who_is_cancelled(seed: int) -> None:
    chance = random.Random(seed)
    held, most = 0, 0

    async def ask(places: Places) -> None:
        nonlocal held, most
        async with places.one(urgent=chance.random() < 0.5):
            held += 1
            most = max(most, held)
            try:
                await asyncio.sleep(chance.random() / 1_000)
            finally:
                held -= 1

    async def ask_all() -> None:
        places = Places(4)
        asked = [asyncio.create_task(ask(places)) for _ in range(200)]
        for task in chance.sample(asked, 80):
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        together = [asyncio.create_task(ask(places)) for _ in range(4)]
        await asyncio.wait_for(asyncio.gather(*together), 5)

    asyncio.run(ask_all())
    assert most == 4 and held == 0
