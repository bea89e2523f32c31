from example import Clock

from bgpmesh.lately import Lately


def test_what_was_so_is_remembered_for_a_while():
    lately = Lately(45)
    lately.note(["r1", "r2"])
    assert lately.names() == ["r1", "r2"] and not lately.expire()
    with Clock(40):
        lately.note(["r2"])
        assert not lately.expire()
    with Clock(46):
        assert lately.expire() and lately.names() == ["r2"]
    with Clock(86):
        assert lately.expire() and lately.names() == []
