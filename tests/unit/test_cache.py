import json

from example import Clock, folder, member

from bgpmesh import cache, compat, disk, records
from bgpmesh.cache import Cache
from bgpmesh.records import Entry


class Flash:
    """Has the cache in a folder of this test's own."""

    def __enter__(self):
        self.folder = folder("cache")
        self._before = cache.PATH
        cache.PATH = self.path = self.folder + "/members"
        return self

    def __exit__(self, *_):
        cache.PATH = self._before
        disk.remove_folder(self.folder)


ENTRIES = {
    "bravo": Entry(records.encode(member("bravo", 2)), 17, 23),
    "alfa": Entry('{"a":"\\n é"}', 3, 3),
}


def shown(found):
    return found.address, sorted([(node, one.text, one.created, one.modified) for node, one in found.entries.items()])


def test_what_was_saved_is_loaded():
    with Flash():
        first = Cache()
        assert first.save("10.0.0.1", ENTRIES) is True
        second = Cache()
        second.load()
        first.address, first.entries = "10.0.0.1", ENTRIES
        assert shown(second) == shown(first)


def test_the_cluster_that_members_are_from_is_kept():
    with Flash() as flash:
        first = Cache()
        first.cluster = "77"
        first.save("10.0.0.1", ENTRIES)
        second = Cache()
        second.load()
        assert (second.cluster, second.address) == ("77", "10.0.0.1")
        text = disk.read(flash.path)
        for bad in ("77", "null", "[]", "{"):
            disk.write(flash.path, text.replace('"77"', bad), 0o600)
            found = Cache()
            found.load()
            assert found.cluster is None and sorted(found.entries) == ["alfa", "bravo"], bad


def test_serials_are_kept_of_who_has_no_entry():
    with Flash() as flash:
        Cache().save("10.0.0.1", ENTRIES, {"carol": 7, "dora": 8})
        found = Cache()
        found.load()
        assert found.serials == {"carol": 7, "dora": 8} and sorted(found.entries) == ["alfa", "bravo"]
        text = disk.read(flash.path)
        for bad in ('{"node":"carol","serial":"7"}', '{"node":7,"serial":7}', '{"serial":7}', '{"node":"carol"}'):
            disk.write(flash.path, text.replace('{"node":"carol","serial":7}', bad), 0o600)
            found = Cache()
            found.load()
            assert found.serials == {"dora": 8}, bad


def test_nothing_there_is_an_empty_cache():
    with Flash():
        found = Cache()
        found.load()
        assert (found.address, found.entries) == (None, {})


def test_one_json_text_per_line_sorted():
    with Flash() as flash:
        Cache().save("10.0.0.1", ENTRIES)
        lines = disk.read(flash.path).split("\n")
        assert [json.loads(line).get("node") for line in lines[:-1]] == [None, "alfa", "bravo"]
        assert lines[-1] == ""


def test_a_line_that_is_no_whole_entry_is_passed_over():
    with Flash() as flash:
        Cache().save("10.0.0.1", ENTRIES)
        text = disk.read(flash.path)
        first, second, third = text.split("\n")[:3]
        disk.write(flash.path, "\n".join([first, second[:-9], "\x00\x00", "[]", third, "x"]), 0o600)
        found = Cache()
        found.load()
        assert (found.address, sorted(found.entries)) == ("10.0.0.1", ["bravo"])


def test_a_line_of_nothing_but_brackets_is_passed_over():
    with Flash() as flash:
        Cache().save("10.0.0.1", ENTRIES)
        whole = disk.read(flash.path)
        for line in ("[" * 20000, "[" * 20000 + "]" * 20000, '{"node":' * 3000 + "1" + "}" * 3000):
            disk.write(flash.path, line + "\n" + whole, 0o600)
            loaded = Cache()
            loaded.load()
            assert loaded.address == "10.0.0.1" and set(loaded.entries) == set(ENTRIES)


def test_every_truncation_loads_whole_entries_only():
    with Flash() as flash:
        Cache().save("10.0.0.1", {"alfa": Entry("{}", 1, 2)})
        text = disk.read(flash.path)
        for end in range(len(text)):
            disk.write(flash.path, text[:end], 0o600)
            found = Cache()
            found.load()
            assert found.entries == {} or end >= len(text) - 2, text[:end]


def test_bytes_that_are_no_text():
    with Flash() as flash:
        with open(flash.path, "wb") as file:
            file.write(b"\xff\xfe\x00")
        found = Cache()
        found.load()
        assert (found.address, found.entries) == (None, {})


def test_the_same_again_is_not_written():
    with Flash() as flash:
        found = Cache()
        found.save("10.0.0.1", ENTRIES)
        disk.remove(flash.path)
        with Clock(cache._INTERVAL + 1):
            assert found.save("10.0.0.1", ENTRIES) is True
            assert not compat.exists(flash.path)
            assert found.save("10.0.0.2", ENTRIES) is True
            assert compat.exists(flash.path)


def test_what_is_on_flash_already_is_not_written_after_a_restart():
    with Flash() as flash:
        Cache().save("10.0.0.1", ENTRIES)
        before = disk.write
        disk.write = None
        try:
            assert Cache().save("10.0.0.1", ENTRIES) is True
        finally:
            disk.write = before
        assert compat.exists(flash.path)


def test_at_most_one_write_a_minute():
    with Flash() as flash:
        found = Cache()
        assert found.save("10.0.0.1", ENTRIES) is True
        text = disk.read(flash.path)
        assert found.save("10.0.0.2", ENTRIES) is False
        assert disk.read(flash.path) == text
        with Clock(cache._INTERVAL - 5):
            assert found.save("10.0.0.2", ENTRIES) is False
        with Clock(cache._INTERVAL + 1):
            assert found.save("10.0.0.2", ENTRIES) is True
        assert disk.read(flash.path) != text


def test_who_changes_records_all_the_time_does_not_wear_out_the_flash():
    with Flash():
        found = Cache()

        def writes(first, last):
            count = 0
            for later in range(first, last, 20):
                with Clock(later):
                    count += found.save("10.0.0.%d" % (later // 20 % 250), ENTRIES)
            return count

        assert 20 < writes(0, 86400) < 40
        with Clock(86400 + 3600):
            found.save("10.0.0.251", ENTRIES)
        # After a quiet time a minute is enough again.
        assert writes(86400 + 3 * 3600, 86400 + 3 * 3600 + 200) >= 2


def test_a_failed_write_is_tried_again():
    with Flash() as flash:
        found = Cache()
        disk.remove_folder(flash.folder)
        try:
            found.save("10.0.0.1", ENTRIES)
            raise AssertionError("no error")
        except OSError:
            pass
        disk.make_folder(flash.folder)
        assert found.save("10.0.0.1", ENTRIES) is False  # a flash that is full is not worn out by that
        with Clock(60):
            assert found.save("10.0.0.1", ENTRIES) is True
        assert compat.exists(flash.path)


def test_what_is_written_at_the_end_does_not_wait():
    with Flash():
        found = Cache()
        assert found.save("10.0.0.1", ENTRIES) is True
        assert found.save("10.0.0.2", ENTRIES) is False
        assert found.save("10.0.0.2", ENTRIES, (), True) is True
        again = Cache()
        again.load()
        assert again.address == "10.0.0.2"
