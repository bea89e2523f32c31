"""Reads OpenWrt UCI configuration files.

The grammar is libuci's own (`file.c` in strict mode, what `uci show` goes by), with its corners. A statement
is `package NAME`, `config TYPE [NAME]`, `option NAME VALUE` or `list NAME VALUE`, or begins with just the
letter p, c, o or l. A word is unquoted, in 'single' or "double" quotes, or made of such pieces; a backslash
escapes except in single quotes; a quoted newline belongs to the value. `;` parts statements, `#` begins a
comment.
"""

BLANKS = " \t\n\v\f\r"
NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"


class UciError(ValueError):
    """A text that libuci refuses. `line` is where, counted from 1; the message names it.

    It quotes nothing of the text: in the wrong place any word may be a secret.
    """

    def __init__(self, line, reason):
        super().__init__("line %d: %s" % (line, reason))
        self.line = line


class Section:
    """A section: `type`; `name`, None when anonymous; `options`, name -> str, or list of str for a `list`."""

    def __init__(self, type, name):
        self.type = type
        self.name = name
        self.options = {}


def parse(text):
    """The sections of a UCI file, in the file's order; raises UciError.

    As in libuci a named section that comes again is continued, the last `option` of a name wins, a `list`
    after an `option` of that name keeps its value as the first item, an `option` with an empty value is none.
    """
    reader = _Reader(text)
    sections = []
    named = {}
    while reader.fetch(0):
        reader.blanks()
        while True:
            command = reader.command()
            if not command or command[0] == "#":
                break
            if command in ("p", "package"):
                reader.name("package", NAME + "-")
                reader.end()
            elif command in ("c", "config"):
                type = reader.word()
                if not type or not all("!" <= c <= "~" for c in type):
                    raise reader.error("a type of the section has to follow, of printable ASCII without blanks")
                name = reader.name("section", NAME, optional=True)
                reader.end()
                section = named.get(name)
                if section is None:
                    section = Section(type, name or None)
                    sections.append(section)
                    if name:
                        named[name] = section
                elif section.type != type:
                    raise reader.error("the section of this name has another type above")
            elif command in ("o", "option", "l", "list"):
                if not sections:
                    raise reader.error("%s before the first section" % command)
                name = reader.name("option", NAME)
                value = reader.word()
                reader.end()
                _set(section.options, name, value, command[0] == "l")
            else:
                raise reader.error("a statement begins with package, config, option or list")
    return sections


def _set(options, name, value, is_list):
    if is_list:
        old = options.get(name, [])
        options[name] = (old if isinstance(old, list) else [old]) + [value]
    elif value:
        options[name] = value


class _Reader:
    """The words of a text. `buffer` holds one line, and more where a quote or backslash runs over its end."""

    def __init__(self, text):
        self.lines = text.split("\n")
        self.line = 0
        self.buffer = ""
        self.position = 0

    def error(self, reason):
        return UciError(self.line, reason)

    def fetch(self, keep):
        """Puts the next line behind the first `keep` characters of the buffer; False when there is none."""
        self.position = keep
        last = len(self.lines) - 1
        more = self.line < last or (self.line == last and self.lines[last] != "")
        line = ""
        if more:
            line = self.lines[self.line] + ("\n" if self.line < last else "")
            self.line += 1
        self.buffer = self.buffer[:keep] + line
        return more

    def char(self):
        return self.buffer[self.position : self.position + 1]

    def blanks(self, which=BLANKS):
        while self.char() and self.char() in which:
            self.position += 1

    def command(self):
        """The word a statement starts with: only blanks and tabs end it (libuci has it from strtok)."""
        self.blanks(" \t")
        start = self.position
        while self.char() and self.char() not in " \t":
            self.position += 1
        return self.buffer[start : self.position]

    def word(self):
        """The next word without its quotes; '' when the statement ends here."""
        self.blanks()
        if self.char() == ";":
            self.position += 1
            return ""
        start = self.position
        out = []
        quote = ""
        while True:
            char = self.char()
            if not char and quote:
                if not self.fetch(self.position):
                    raise self.error("%s is never closed" % quote)
                continue
            if not quote and (not char or char in BLANKS):
                self.position += len(char)
                break
            if not quote and char in "#;":
                # libuci writes a NUL behind the word: over the `;` when no quote made room, and the line ends
                if char == "#" or len(out) == self.position - start:
                    self.buffer = self.buffer[: self.position]
                break
            self.position += 1
            if char == "\\" and quote != "'":
                char = self.buffer[self.position :]
                if char in ("", "\n", "\r\n"):
                    self.fetch(self.position)
                    continue
                out.append(char[0])
                self.position += 1
            elif char == quote:
                quote = ""
            elif not quote and char in "'\"":
                quote = char
            else:
                out.append(char)
        return "".join(out)

    def name(self, what, allowed, optional=False):
        """The next word, which has to be a name made of the characters allowed."""
        name = self.word()
        if not name and not optional:
            raise self.error("a name of the %s has to follow" % what)
        if not all(c in allowed for c in name):
            raise self.error("a name of the %s has letters, digits and _ alone" % what)
        return name

    def end(self):
        """Refuses what follows a complete statement."""
        if self.word():
            raise self.error("a word too many: a value with blanks needs quotes")
