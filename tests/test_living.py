"""A set that holds nothing alive: through which one thread goes while others add to it."""

from __future__ import annotations

import gc
import threading

from aicached.living import Living


class Thing:
    pass


def test_what_nobody_else_holds_is_not_there():
    things, here = Living[Thing](), [Thing() for _ in range(3)]
    for thing in here:
        things.add(thing)
        things.add(thing)
    assert here == list(things)
    del thing
    gone = here.pop()
    assert things
    things.discard(gone)
    things.discard(Thing())
    assert here == list(things)
    here.clear()
    gc.collect()
    assert [] == list(things)
    assert not things


def test_one_goes_through_it_while_others_add():
    things, over = Living[Thing](), threading.Event()

    def add() -> None:
        while not over.is_set():
            held = [Thing() for _ in range(50)]
            for thing in held:
                things.add(thing)

    adding = [threading.Thread(target=add) for _ in range(2)]
    for thread in adding:
        thread.start()
    try:
        for _ in range(300):
            for thing in things:
                assert type(thing) is Thing
    finally:
        over.set()
        for thread in adding:
            thread.join()


def test_what_comes_in_the_middle_is_met_the_next_time():
    things, here = Living[Thing](), [Thing(), Thing()]
    for thing in here:
        things.add(thing)
    later = Thing()
    for thing in things:
        things.add(later)
        assert thing in here
    assert [*here, later] == list(things)
