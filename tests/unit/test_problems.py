from example import Clock

from bgpmesh.model import Problem
from bgpmesh.problems import Problems, Retry


def noted():
    said = []
    return Problems(said.append), said


def shown(problems):
    return [(problem.code, problem.subject, problem.text, int(age)) for problem, age in problems.all()]


def test_a_problem_is_reported_once_and_once_when_it_is_over():
    problems, said = noted()
    for _ in range(3):
        problems.replace("tinc", [Problem("tinc", "tinc", "it is down")])
    assert said == ["tinc: it is down"]
    problems.replace("tinc", [])
    problems.replace("tinc", [])
    assert said == ["tinc: it is down", "tinc: over: it is down"]
    assert problems.all() == [] and problems.of("tinc") == []


def test_parts_do_not_touch_each_others_problems():
    problems, said = noted()
    problems.replace("bird", [Problem("bird", "b", "one")])
    problems.replace("tinc", [Problem("tinc", "t", "two")])
    problems.replace("bird", [])
    assert [problem.code for problem, _ in problems.all()] == ["tinc"]
    assert [problem.code for problem in problems.of("tinc")] == ["tinc"]
    assert problems.of("nobody") == []


def test_a_problem_keeps_its_age_while_its_text_changes():
    problems, said = noted()
    problems.replace("bird", [Problem("bird", "r2", "Connect")])
    with Clock(7):
        problems.replace("bird", [Problem("bird", "r2", "Active"), Problem("bird", "r3", "Idle")])
        assert shown(problems) == [("bird", "r2", "Active", 7), ("bird", "r3", "Idle", 0)]
    assert said == ["bird: Connect", "bird: Idle"]


def test_a_problem_that_comes_back_is_new():
    problems, said = noted()
    problems.replace("bird", [Problem("bird", "r2", "Connect")])
    problems.replace("bird", [])
    with Clock(7):
        problems.replace("bird", [Problem("bird", "r2", "Connect")])
        assert shown(problems) == [("bird", "r2", "Connect", 0)]
    assert len(said) == 3


def test_problems_are_sorted_by_code_and_subject():
    problems, _ = noted()
    found = [Problem(code, subject, "x") for code in ("b", "a") for subject in ("z", "y")]
    problems.replace("one", found)
    problems.replace("two", [Problem("a", "yy", "x"), Problem("c", "a", "x")])
    keys = [problem.key() for problem, _ in problems.all()]
    assert keys == [("a", "y"), ("a", "yy"), ("a", "z"), ("b", "y"), ("b", "z"), ("c", "a")]
    assert [problem.key() for problem in problems.of("one")] == [("a", "y"), ("a", "z"), ("b", "y"), ("b", "z")]


def test_the_same_problem_twice_in_one_look_counts_once():
    problems, said = noted()
    for _ in range(2):
        problems.replace("one", [Problem("a", "y", "x"), Problem("a", "y", "x")])
        assert len(problems.all()) == 1
    assert said == ["a: x"]


def test_the_same_problem_of_two_parts_is_there_twice():
    problems, _ = noted()
    problems.replace("one", [Problem("a", "y", "x")])
    problems.replace("two", [Problem("a", "y", "z")])
    assert len(problems.all()) == 2


# Retry


def test_a_first_try_is_due_at_once():
    retry = Retry()
    assert retry.due() and retry.wait() == 0


def test_tries_become_rarer_up_to_a_limit_and_differ():
    retry = Retry(1, 30)
    spans = []
    for _ in range(12):
        retry.failed()
        assert not retry.due()
        spans.append(retry.wait())
    assert 0.4 < spans[0] <= 1.01
    assert 1 <= spans[2] <= 4.01
    assert spans[4] > spans[0]
    assert all([14 < span <= 30.01 for span in spans[6:]]), spans
    assert len(set(spans[6:])) > 1


def test_a_wait_passes():
    retry = Retry(1, 30)
    retry.failed()
    with Clock(2):
        assert retry.due() and retry.wait() == 0


def test_a_success_begins_anew():
    retry = Retry(1, 30)
    for _ in range(8):
        retry.failed()
    retry.succeeded()
    assert retry.due() and retry.wait() == 0
    retry.failed()
    assert retry.wait() <= 1.01
