"""What fuzzing has found, and what it started from, once more: on both runtimes."""

import sys

sys.path.append((__file__.rpartition("/")[0] or ".") + "/../fuzz")

import kept
import targets


def test_every_target_has_a_corpus():
    assert kept.names() == sorted(set(list(targets.TARGETS) + targets.CPYTHON))


def test_the_corpus_is_read_or_refused():
    for name in targets.TARGETS:
        inputs = kept.load(name)
        assert inputs
        for data in inputs:
            try:
                targets.TARGETS[name](data)
            except Exception as error:
                raise AssertionError("%s, %r: %r" % (name, data, error))
