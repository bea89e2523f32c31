"""What the app is made of: its texts, its menu entries and its permissions."""

import re

import pytest

from luci import messages
from luci.server import APP, app_acl, menu, translations

LANGUAGES = ["es"]


def test_every_text_can_be_found_by_those_who_translate():
    assert messages.unreadable() == []


def test_the_template_has_every_text():
    assert messages.TEMPLATE.read_text() == messages.template(), "run: PYTHONPATH=tests:src python3 -m luci.messages"


def test_no_translation_goes_unlooked_at():
    assert sorted(path.parent.name for path in APP.glob("po/*/bgpmesh.po")) == LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_is_complete(language):
    found = translations(language)
    assert set(found) == set(messages.marked())
    assert [text for text, other in found.items() if not other] == []
    for text, other in found.items():
        assert re.findall(r"%\.?\d*[a-z%]", text) == re.findall(r"%\.?\d*[a-z%]", other), text


def test_menu_entries_lead_to_views_and_depend_on_groups_that_exist():
    assert sorted(menu()) == ["admin/services/bgpmesh", "admin/status/bgpmesh"]
    for entry in menu().values():
        assert (APP / "htdocs/luci-static/resources/view" / (entry["action"]["path"] + ".js")).is_file()
        assert set(entry["depends"]["acl"]) <= set(app_acl())


def test_the_status_page_has_no_way_to_the_options():
    group = app_acl()["luci-app-bgpmesh"]
    assert "uci" not in {*group["read"], *group["write"]}
    assert group["read"]["ubus"] == {"file": ["exec"], "luci.bgpmesh": ["status", "peers", "routes", "tunnels"]}
    assert group["read"]["file"] == {"/usr/sbin/bgpmesh check -j": ["exec"]}
    assert group["write"] == {"ubus": {"luci.bgpmesh": ["sync"]}}


def test_no_page_uses_what_makes_markup_of_text():
    dangerous = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b")
    for path in APP.glob("htdocs/**/*.js"):
        assert not dangerous.search(path.read_text()), path.name
