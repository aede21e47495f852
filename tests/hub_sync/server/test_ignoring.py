"""What a .gitignore keeps out."""

import time

import pytest

from hub_sync.server.ignoring import Ignored


@pytest.mark.parametrize(
    "rules, ignored, kept",
    [
        ("*.log", ["a.log", "d/e/a.log"], ["a.logs", "a.txt"]),
        ("/top", ["top", "top/a"], ["d/top"]),
        ("build/", ["build/a", "d/build/a/b"], ["build", "d/build"]),
        ("a/b", ["a/b", "a/b/c"], ["d/a/b", "a"]),
        ("a/**/z", ["a/z", "a/b/c/z"], ["a", "z", "b/a/z"]),
        ("**/x", ["x", "a/b/x"], ["ax"]),
        ("a/**/**/z/", ["a/z/b", "a/b/z/c"], ["a/z", "a/b/z"]),
        ("a/**", ["a/b", "a/b/c"], ["b/a"]),
        ("*.txt\n!keep.txt", ["a.txt"], ["keep.txt", "d/keep.txt"]),
        ("d/\n!d/keep", ["d/keep"], []),  # what is in an ignored folder is not looked at
        ("# comment\n\n  \n", [], ["# comment", "a"]),
        ("", [], ["a", ".git"]),
    ],
)
def test_as_git_does(rules: str, ignored: list[str], kept: list[str]) -> None:
    found = Ignored(rules)
    assert [found.has(path) for path in ignored] == [True] * len(ignored)
    assert [found.has(path) for path in kept] == [False] * len(kept)


def test_no_rule_takes_for_ever() -> None:
    rules = Ignored("\n".join(["*a" * 30 + "b", "/".join(["**", "a*"] * 19 + ["b"])] * 250))
    assert not rules.has("/".join(["a" * 50] * 20))


def test_long_paths_cost_no_more_than_their_length() -> None:
    rules, start = Ignored("\n".join(["b"] * 100 + ["*b"] * 100)), time.process_time()
    assert not any(rules.has("/".join(["a"] * 500 + [f"{number}"])) for number in range(1000))
    assert time.process_time() - start < 1
