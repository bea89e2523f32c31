from bgpmesh import uci

TYPE = "a type of the section has to follow, of printable ASCII without blanks"


def read(text):
    return [(section.type, section.name, section.options) for section in uci.parse(text)]


def values(statements):
    """The options of a section made of these statements."""
    [(_, _, options)] = read("config mesh 'main'\n" + statements)
    return options


def fault(text):
    try:
        uci.parse(text)
    except uci.UciError as error:
        return str(error)
    return None


def test_a_file_as_uci_commit_writes_it():
    text = (
        "\nconfig mesh 'main'\n\toption enabled '1'\n\tlist etcd 'http://192.0.2.10:2379'\n"
        "\tlist etcd 'http://192.0.2.11:2379'\n\nconfig rule\n\toption name 'it'\\''s'\n\n"
    )
    servers = ["http://192.0.2.10:2379", "http://192.0.2.11:2379"]
    assert read(text) == [
        ("mesh", "main", {"enabled": "1", "etcd": servers}),
        ("rule", None, {"name": "it's"}),
    ]


def test_an_empty_file_has_no_sections():
    assert read("") == read("\n") == read("  # nothing\n\r\n") == []


def test_the_package_line_is_accepted():
    assert read("package bgp-mesh\nconfig mesh main") == [("mesh", "main", {})]


def test_sections_keep_the_order_of_the_file():
    names = ["zebra", "ant", "mule", "bee"]
    text = "".join(["config animal %s\n" % name for name in names])
    assert [section.name for section in uci.parse(text)] == names


def test_single_quotes_keep_everything():
    assert values("option a 'b \"c\\ # ; d'") == {"a": 'b "c\\ # ; d'}


def test_double_quotes_take_backslash_escapes():
    assert values('option a "b\\"c\\\\d \'#;"') == {"a": "b\"c\\d '#;"}


def test_unquoted_words_take_backslash_escapes():
    assert values("option a b\\ c\\'d\\#e") == {"a": "b c'd#e"}


def test_pieces_written_together_are_one_word():
    assert values("option a b'c d'\"e f\"g") == {"a": "bc de fg"}


def test_a_backslash_joins_lines():
    assert values("option a b\\\nc") == {"a": "bc"}
    assert values("option a b\\\r\nc") == {"a": "bc"}
    assert values('option a "b\\\nc"') == {"a": "bc"}
    assert values("option a \\\nb\noption c d") == {"a": "b", "c": "d"}


def test_a_quoted_newline_belongs_to_the_value():
    assert values("option a 'b\nc'\noption d \"e\n\nf\"") == {"a": "b\nc", "d": "e\n\nf"}


def test_a_backslash_before_a_newline_in_single_quotes_is_kept():
    assert values("option a 'b\\\nc'") == {"a": "b\\\nc"}


def test_a_comment_ends_the_line():
    assert values("# one\n\toption a b # two\noption c d#three\n") == {"a": "b", "c": "d"}


def test_blank_lines_tabs_and_crlf():
    assert values("\r\n\t option\t a   'b' \r\n\n") == {"a": "b"}


def test_letters_stand_for_statements():
    assert read("p x\nc mesh main\no a b\nl c d") == [("mesh", "main", {"a": "b", "c": ["d"]})]


def test_a_semicolon_parts_statements():
    assert values("option a 'b'; option c 'd' ;list e 'f'") == {"a": "b", "c": "d", "e": ["f"]}


def test_a_semicolon_right_behind_an_unquoted_word_ends_the_line():
    # libuci writes the NUL that ends the word over it
    assert values("option a b;option c d\noption e f") == {"a": "b", "e": "f"}


def test_the_last_option_of_a_name_wins():
    assert values("option a b\noption a c") == {"a": "c"}
    assert values("list a b\noption a c") == {"a": "c"}


def test_a_list_after_an_option_starts_with_it():
    assert values("option a b\nlist a c\nlist a ''") == {"a": ["b", "c", ""]}


def test_an_option_with_an_empty_value_says_nothing():
    assert values("option a ''\noption b c\noption b ''\noption d") == {"b": "c"}


def test_a_named_section_that_comes_again_is_continued():
    text = "config a x\noption b 1\nconfig a y\nconfig a x\noption c 2\n"
    assert read(text) == [("a", "x", {"b": "1", "c": "2"}), ("a", "y", {})]


def test_a_section_type_may_have_any_printable_character():
    assert read("config !a-~\n") == [("!a-~", None, {})]
    assert fault("config aé") == "line 1: " + TYPE


def test_anonymous_sections_stay_apart():
    assert read("config a\noption b 1\nconfig a ''\n") == [("a", None, {"b": "1"}), ("a", None, {})]


def test_values_that_are_not_ascii():
    assert values("option a 'Zürich–北'") == {"a": "Zürich–北"}


def test_faults_name_the_line_and_what_would_be_right_there():
    statement = "a statement begins with package, config, option or list"
    assert fault("config mesh main\n\noption a 'b\nc\n") == "line 4: ' is never closed"
    assert fault('config mesh main\noption a "b') == 'line 2: " is never closed'
    assert fault("\n\nset a b") == "line 3: " + statement
    assert fault("config mesh main\noption a 'b';\n") == "line 2: " + statement
    assert fault("config mesh main\noption") == "line 2: a name of the option has to follow"
    assert fault("option a b") == "line 1: option before the first section"
    assert fault("config") == "line 1: " + TYPE
    assert fault("config 'a b'") == "line 1: " + TYPE
    for text, what in (("package a.b", "package"), ("config a b-c", "section")):
        assert fault(text) == "line 1: a name of the %s has letters, digits and _ alone" % what
    assert fault("config a\noption b.c d") == "line 2: a name of the option has letters, digits and _ alone"
    assert fault("config a\noption b c d") == "line 2: a word too many: a value with blanks needs quotes"
    assert fault("config a x\nconfig b x") == "line 2: the section of this name has another type above"


def test_the_line_is_a_number_too():
    try:
        uci.parse("config a\n'")
    except uci.UciError as error:
        assert error.line == 2
    else:
        raise AssertionError("accepted")
