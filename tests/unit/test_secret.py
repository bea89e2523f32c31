from example import OTHER_SECRET, SECRET, Thing

from bgpmesh import secret

NEW, OLD = OTHER_SECRET, SECRET


def test_a_name_stands_for_one_secret_and_does_not_tell_it():
    assert secret.name(NEW) == secret.name(NEW) != secret.name(OLD)
    assert len(secret.name(NEW)) == secret.NAME_LENGTH and NEW not in secret.name(NEW)


def shared(mine, theirs, leading=True):
    return secret.shared(mine, secret.names(theirs), leading)


def test_two_share_the_newest_that_both_know():
    for leading in (True, False):
        assert shared([NEW], [NEW], leading) == NEW
        assert shared([NEW, OLD], [OLD], leading) == OLD
        assert shared([NEW, OLD], [NEW], leading) == NEW
        assert shared([NEW, OLD], [NEW, OLD], leading) == NEW
        assert shared([NEW], [OLD], leading) is None
        assert shared([NEW], [], leading) is None
    assert (shared([NEW, OLD], [OLD, NEW], True), shared([NEW, OLD], [OLD, NEW], False)) == (NEW, OLD)


def signing(mine, *members):
    return secret.signing(mine, [Thing(secrets=secret.names(one)) for one in members])


def test_a_record_is_signed_so_that_all_can_read_it():
    assert signing([]) is None
    assert signing([NEW]) == signing([NEW, OLD]) == NEW
    assert signing([NEW, OLD], [NEW, OLD], [NEW]) == NEW
    assert signing([NEW, OLD], [NEW, OLD], [OLD]) == OLD
    # The one who knows no other was forgotten: the others go on without it.
    assert signing([NEW, OLD], [NEW], [OLD]) == NEW
