"""The app's texts: what its sources mark for translation, and the template that translators start from."""

import json
import re

from luci.server import APP

TEMPLATE = APP / "po" / "templates" / "bgpmesh.pot"
CALL = re.compile(r"""\b_\(\s*'((?:[^'\\]|\\.)*)'\s*\)""")
ANY_CALL = re.compile(r"\b_\(")


def marked():
    """text -> the places it comes from, sorted: 'file:line' within the app's folder."""
    found = {}
    for path in sorted(APP.glob("htdocs/**/*.js")):
        source = path.read_text()
        for match in CALL.finditer(source):
            line = source.count("\n", 0, match.start()) + 1
            found.setdefault(_unescaped(match[1]), []).append((str(path.relative_to(APP)), line))
    for pattern, name in (("luci/menu.d/*.json", "title"), ("rpcd/acl.d/*.json", "description")):
        for path in sorted(APP.glob("root/usr/share/" + pattern)):
            lines = path.read_text().split("\n")
            for entry in json.loads(path.read_text()).values():
                line = [json.dumps(entry[name], ensure_ascii=False) in text for text in lines].index(True) + 1
                found.setdefault(entry[name], []).append((str(path.relative_to(APP)), line))
    return found


def unreadable():
    """Calls of _() that are not of one literal text, as 'file: source'."""
    found = []
    for path in sorted(APP.glob("htdocs/**/*.js")):
        source = path.read_text()
        good = {match.start() for match in CALL.finditer(source)}
        bad = [match.start() for match in ANY_CALL.finditer(source) if match.start() not in good]
        found += [f"{path.name}: {source[at:at + 40]}" for at in bad]
    return found


def template():
    """The text of the template, as LuCI's own are."""
    parts = ['msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8"\n']
    for text, places in sorted(marked().items(), key=lambda item: min(item[1])):
        where = "".join(f"#: package/luci-app-bgpmesh/{name}:{line}\n" for name, line in sorted(set(places)))
        parts.append(f"{where}msgid {json.dumps(text, ensure_ascii=False)}\nmsgstr \"\"\n")
    return "\n".join(parts)


def _unescaped(text):
    return re.sub(r"\\(.)", r"\1", text)


if __name__ == "__main__":
    TEMPLATE.write_text(template())
