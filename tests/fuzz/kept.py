"""The inputs kept in corpus/: a file for each target, a JSON text on each line whose characters are bytes."""

import json
import os

_FOLDER = (__file__.rpartition("/")[0] or ".") + "/corpus"


def load(target):
    """The inputs of a target, as bytes; none where nothing is kept."""
    try:
        with open(_path(target)) as file:
            return [bytes([ord(char) for char in json.loads(line)]) for line in file.read().split("\n") if line]
    except OSError:
        return []


def save(target, inputs):
    """Keeps these inputs, sorted."""
    with open(_path(target), "w") as file:
        for data in sorted(set(inputs), key=lambda data: (len(data), data)):
            file.write(json.dumps("".join([chr(byte) for byte in data])) + "\n")


def names():
    """The targets that have a file."""
    return sorted([name[: -len(".json")] for name in os.listdir(_FOLDER) if name.endswith(".json")])


def _path(target):
    return "%s/%s.json" % (_FOLDER, target)
