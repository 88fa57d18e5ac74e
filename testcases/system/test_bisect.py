"""Bisections: the search by itself, and from the outside, with real histories and a stand-in for each run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.bisect.commits import Commits
from harness.bisect.search import Grade, Line, search
from testcases.bootstrap.miniature import git
from testcases.system.test_matrix_run import ROOT, Trial

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KERNELS = [f"6.1.0-{number}-686" for number in range(5, 21)]


@given(st.data())
def test_the_first_bad_one_is_found_whatever_cannot_be_tried(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 200))
    first_bad = data.draw(st.integers(1, count - 1))
    untried = data.draw(st.sets(st.integers(1, max(1, count - 2)))) - {count - 1}
    names = tuple(map(str, range(count)))
    asked: list[str] = []

    def grade(name: str, _under: int) -> Grade:
        asked.append(name)
        if int(name) in untried:
            return Grade.SKIPPED
        return Grade.BAD if int(name) >= first_bad else Grade.GOOD

    culprits, _ = search(Line(names), grade, names[0], names[-1])
    assert len(asked) == len(set(asked))
    assert str(first_bad) in culprits
    # What else is under suspicion could not be tried, or is the first that was found bad.
    assert {int(name) for name in culprits[:-1]} <= untried
    assert int(culprits[-1]) not in untried
    if not untried:
        assert culprits == (str(first_bad),)
        assert len(asked) <= (count - 1).bit_length()


class Bisection(Trial):
    """A bisection in a directory of its own."""

    def begin(self, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "testcases.support.stub_bisect", "bisect", "relay", *options]
        command += ["--runs", str(self.runs), "--cache", str(self.place / "cache")]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def ask(self, *options: str) -> tuple[int, str, str]:
        process = self.begin(*options)
        said, complained = process.communicate(timeout=120)
        return process.returncode, said, complained

    def found(self, *options: str, status: int = 0) -> dict[str, Any]:
        code, said, complained = self.ask(*options, "--json")
        assert code == status, complained
        document: dict[str, Any] = json.loads(said)
        return document

    def kernels(self, bad_from: int, **otherwise: str) -> None:
        """Those of 6.1 from that one on fail; some end otherwise."""
        ends = {name: "0-f" if number >= bad_from else "0-p" for number, name in enumerate(KERNELS)}
        ends |= {f"6.1.0-{name[1:]}-686": end for name, end in otherwise.items()}
        ends |= {"5.10.0-9-686": "0-p", "5.10.0-30-686": "0-p"}
        (self.place / "ends.json").write_text(json.dumps(ends))

    def began(self) -> int:
        return sum(line.startswith("began") for line in self.log())


@pytest.fixture
def bisection(tmp_path: Path) -> Iterator[Bisection]:
    made = Bisection(tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def names(part: Any) -> list[tuple[str, str]]:
    """Candidates in a part of the result, with the run that decided."""
    return [(one["name"], one.get("run", "")) for one in (part if isinstance(part, list) else [part])]


LINE = ("--kernel-line", "debian-6.1-i686", "--good", "6.1.0-5", "--bad", "6.1.0-20")


def test_the_first_bad_kernel_is_named_with_both_its_neighbours(bisection: Bisection) -> None:
    bisection.kernels(11)
    found = bisection.found(*LINE)
    assert [one["name"] for one in found["culprits"]] == [KERNELS[11]]
    assert (found["good"]["name"], found["good"]["outcome"]) == (KERNELS[10], "PASS")
    assert (found["bad"]["name"], found["bad"]["outcome"]) == (KERNELS[11], "FAIL")
    for end in ("good", "bad"):
        assert (bisection.runs / found[end]["run"] / "run.json").is_file()
    # Both ends, and four steps; each bad one twice.
    assert len(found["tried"]) == 6
    assert bisection.began() == sum(2 if one["grade"] == "bad" else 1 for one in found["tried"])
    written = next(bisection.runs.glob(f".bisect/*/{KERNELS[11]}.toml")).read_text()
    assert f'package = "linux-image-{KERNELS[11]}"' in written


def test_people_are_told_the_culprit_and_where_the_records_are(bisection: Bisection) -> None:
    bisection.kernels(3)
    code, said, complained = bisection.ask(*LINE)
    assert code == 0
    assert said.startswith(f"The first bad one is {KERNELS[3]} (debian-6.1-i686)\n")
    assert said.count(f"     {bisection.runs}/") == 2
    assert "harness compare " in said
    assert "[14 between good and bad, about 4 to try]" in complained


def test_kernels_of_several_lines_are_searched_by_version(bisection: Bisection) -> None:
    bisection.kernels(0)
    found = bisection.found(
        "--kernel-line", "debian-*-i686", "--good", "5.10.0-9", "--bad", "debian-6.1-i686"
    )
    assert [one["name"] for one in found["culprits"]] == [KERNELS[0]]
    assert found["good"]["name"] == "5.10.0-30-686"


def test_what_fails_now_and_then_is_not_taken_for_bad(bisection: Bisection) -> None:
    bisection.kernels(11, _12="0-fp")
    found = bisection.found(*LINE)
    assert [one["name"] for one in found["culprits"]] == [KERNELS[11]]
    [flaky] = [one for one in found["tried"] if one["flaky"]]
    assert (flaky["name"], flaky["grade"], len(flaky["runs"])) == ("6.1.0-12-686", "good", 2)


def test_a_fault_that_does_not_always_show_is_found(bisection: Bisection) -> None:
    bisection.kernels(11, **{f"_{number}": "0-ppf" for number in range(16, 20)}, _20="0-f")
    found = bisection.found(*LINE, "--flaky", "bad", "--repeat", "3")
    assert [one["name"] for one in found["culprits"]] == [KERNELS[11]]
    assert found["bad"]["flaky"]
    assert found["bad"]["outcome"] == "FAIL"
    assert {len(one["runs"]) for one in found["tried"] if one["grade"] == "good"} == {3}


def test_what_the_host_failed_is_tried_again_and_then_left_out(bisection: Bisection) -> None:
    bisection.kernels(11, _12="0-ip", _15="0-ii")
    found = bisection.found(*LINE, status=1)
    assert [one["name"] for one in found["culprits"]] == ["6.1.0-15-686", KERNELS[11]]
    skipped = {one["name"] for one in found["tried"] if one["grade"] == "skipped"}
    assert skipped == {"6.1.0-15-686"}


def test_another_failure_is_not_the_one_that_is_looked_for(bisection: Bisection) -> None:
    bisection.kernels(16, **{f"_{number}": "0-k" for number in range(14, 21)}, _13="0-f")
    found = bisection.found(*LINE, "--outcome", "PANIC", status=1)
    assert [one["name"] for one in found["culprits"]] == ["6.1.0-13-686", "6.1.0-14-686"]


def test_how_far_a_run_came_can_decide(bisection: Bisection) -> None:
    bisection.kernels(3)
    code, _, complained = bisection.ask(*LINE, "--reach", "sysb")
    assert code == 2
    assert "has no stage 'sysb'" in complained
    code, _, complained = bisection.ask(*LINE, "--reach", "sysa")
    assert code == 2
    assert f"{KERNELS[-1]} (debian-6.1-i686) was said to be bad, and is good: FAIL" in complained


def test_an_interrupted_bisection_does_no_run_twice(bisection: Bisection) -> None:
    bisection.kernels(11, _12="60-p")
    process = bisection.begin(*LINE)
    bisection.wait_for(lambda: "began 60-p 1" in bisection.log())
    process.send_signal(signal.SIGINT)
    _, complained = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume goes on where it stopped" in complained
    before = bisection.began()
    bisection.kernels(11)
    found = bisection.found(*LINE, "--resume")
    assert [one["name"] for one in found["culprits"]] == [KERNELS[11]]
    whole = sum(len(one["runs"]) for one in found["tried"])
    assert bisection.began() == whole + 1  # the one that was interrupted
    assert before > 1
    again = bisection.found(*LINE, "--resume")
    for one in ("culprits", "good", "bad"):
        assert names(again[one]) == names(found[one])
    assert bisection.began() == whole + 1


def test_a_killed_bisection_leaves_no_run_behind(bisection: Bisection) -> None:
    bisection.kernels(11, _20="60-f")
    process = bisection.begin(*LINE)
    bisection.wait_for(lambda: "began 60-f 1" in bisection.log())
    process.kill()
    bisection.wait_for(lambda: "stopped 60-f" in bisection.log())


def test_only_one_process_answers_a_question(bisection: Bisection) -> None:
    bisection.kernels(11, _20="60-f")
    bisection.begin(*LINE)
    bisection.wait_for(lambda: "began 60-f 1" in bisection.log())
    code, _, complained = bisection.ask(*LINE)
    assert code == 2
    assert "being run by another process" in complained


def test_ends_that_are_not_what_was_said_are_refused(bisection: Bisection) -> None:
    bisection.kernels(99)
    code, _, complained = bisection.ask(*LINE)
    assert code == 2
    assert "was said to be bad, and is good: PASS (run " in complained
    bisection.kernels(0)
    code, _, complained = bisection.ask(*LINE)
    assert code == 2
    assert "was said to be good, and is bad: FAIL: as the test has it" in complained


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--good", "a"], "--bad is missing"),
        (["--good", "a", "--bad", "b"], "one of the two with --kernel-line and --tree"),
        ([*LINE, "--tree", "."], "not both with --kernel-line and --tree"),
        ([*LINE, "--outcome", "FAIL", "--reach", "sysa"], "both say what is bad"),
        ([*LINE, "--reach", "sysz"], "--reach: the plan relay of relay has no stage 'sysz'"),
        ([*LINE, "--checkpoint", "sysz"], "it has: sysa, kexec, sysb"),
        ([*LINE, "--resume"], "there is no bisection of the same words"),
        ([*LINE[:2], "--good", "6.1.0-20", "--bad", "6.1.0-5"], "are the two exchanged?"),
        ([*LINE[:2], "--good", "6.1.0-1", "--bad", "6.1.0-5"], "no kernel is called so"),
        ([*LINE[:2], "--good", "6.1", "--bad", "6.1.0-5"], "several kernels are called so"),
        (["--kernel-line", "nope", *LINE[2:]], "there is no kernel line 'nope'"),
        (["--tree", "/nonexistent", *LINE[2:]], "is no git checkout"),
    ],
)
def test_mistakes_are_found_before_anything_runs(
    bisection: Bisection, options: list[str], words: str
) -> None:
    code, _, complained = bisection.ask(*options)
    assert code == 2, complained
    assert words in complained
    assert "Traceback" not in complained
    assert bisection.log() == []


def test_options_of_the_bisection_are_not_handed_on(bisection: Bisection) -> None:
    command = [sys.executable, "-m", "harness", "bisect", "relay", *LINE, "--", "--kernel=x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=bisection.place)
    assert done.returncode == 2
    assert "--kernel cannot be handed to the runs: the bisection chooses it" in done.stderr


class History:
    """A git repository, with a file that says how a run of it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        git(path, "init", "-q", "-b", "main")

    def commit(self, ends: str, subject: str) -> str:
        (self.path / "ends").write_text(ends + "\n")
        (self.path / "number").write_text(subject)
        git(self.path, "add", "-A")
        git(self.path, "commit", "-qm", subject)
        return git(self.path, "rev-parse", "HEAD").strip()


def state(path: Path) -> tuple[str, ...]:
    """All that somebody would mind if it changed."""
    commands = (
        ["status", "--porcelain", "--ignored"],
        ["rev-parse", "HEAD"],
        ["for-each-ref"],
        ["stash", "list"],
    )
    said = tuple(git(path, *command) for command in commands)
    return (*said, git(path, "worktree", "list"), git(path, "count-objects", "-v"))


def test_the_commit_that_broke_a_tree_is_named_and_the_checkout_stays(
    bisection: Bisection, tmp_path: Path
) -> None:
    history = History(tmp_path / "tree")
    commits = [history.commit("0-p" if number < 7 else "0-f", f"step {number}") for number in range(12)]
    (history.path / "mine").write_text("not committed")
    (history.path / "ends").write_text("0-k\n")
    before = state(history.path)
    found = bisection.found("--tree", str(history.path), "--good", commits[0], "--bad", "main")
    assert [one["name"] for one in found["culprits"]] == [commits[7]]
    assert found["culprits"][0]["title"].endswith(" step 7")
    assert found["good"]["name"] == commits[6]
    assert state(history.path) == before
    assert list(bisection.runs.glob(".bisect/*/tree")) == []


def test_commits_that_cannot_be_tried_are_passed_over(bisection: Bisection, tmp_path: Path) -> None:
    history = History(tmp_path / "tree")
    ends = ["0-p", "0-p", "0-p", "0-ii", "0-ii", "0-f", "0-f"]
    commits = [history.commit(end, f"step {number}") for number, end in enumerate(ends)]
    words = ("--tree", str(history.path), "--good", commits[0], "--bad", commits[-1])
    found = bisection.found(*words, status=1)
    assert sorted(one["name"] for one in found["culprits"]) == sorted(commits[3:6])
    assert found["good"]["name"] == commits[2]
    code, said, _ = bisection.ask(*words)
    assert code == 1
    assert "one of 3; the others cannot be tried" in said


def test_merges_are_gone_into_or_taken_as_one(bisection: Bisection, tmp_path: Path) -> None:
    history = History(tmp_path / "tree")
    base = history.commit("0-p", "base")
    git(history.path, "checkout", "-qb", "side")
    history.commit("0-p", "side 1")
    guilty = history.commit("0-f", "side 2")
    git(history.path, "checkout", "-q", "main")
    (history.path / "other").write_text("x")
    git(history.path, "add", "-A")
    git(history.path, "commit", "-qm", "main 1")
    git(history.path, "merge", "-q", "--no-ff", "-m", "merge side", "side")
    merge = git(history.path, "rev-parse", "HEAD").strip()
    words = ("--tree", str(history.path), "--good", base, "--bad", "main")
    assert [one["name"] for one in bisection.found(*words)["culprits"]] == [guilty]
    assert [one["name"] for one in bisection.found(*words, "--first-parent")["culprits"]] == [merge]


def test_ends_of_a_history_that_do_not_follow_on_each_other(bisection: Bisection, tmp_path: Path) -> None:
    history = History(tmp_path / "tree")
    first, second = history.commit("0-p", "first"), history.commit("0-p", "second")
    words = ("--tree", str(history.path))
    for good, bad, said in (
        (second, first, "are the two exchanged?"),
        (first, first, "are the same commit"),
        ("nope", first, "has no such commit"),
        ("--all", first, "has no such commit"),
    ):
        code, _, complained = bisection.ask(*words, f"--good={good}", f"--bad={bad}")
        assert code == 2
        assert said in complained


def test_submodules_are_laid_out_at_their_pins_from_what_is_at_hand(tmp_path: Path) -> None:
    inner = History(tmp_path / "inner")
    old = inner.commit("old", "old")
    new = inner.commit("new", "new")
    outer = History(tmp_path / "outer")
    git(
        outer.path, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner.path), "a dir/sub"
    )
    git(outer.path / "a dir/sub", "checkout", "-q", old)
    first = outer.commit("-", "pins the old one")
    git(outer.path, "mv", "a dir/sub", "moved")
    git(outer.path / "moved", "checkout", "-q", new)
    second = outer.commit("-", "moves it, and pins the new one")
    git(outer.path, "update-index", "--cacheinfo", f"160000,{'1' * 40},moved")
    git(outer.path, "commit", "-qm", "pins what nobody has")
    third = git(outer.path, "rev-parse", "HEAD").strip()
    commits, place = Commits(outer.path), tmp_path / "place"
    for commit, path, content in (
        (second, "moved", "new"),
        (first, "a dir/sub", "old"),
        (second, "moved", "new"),
    ):
        assert commits.check_out(commit, place) == ()
        assert (place / path / "ends").read_text() == f"{content}\n"
        assert git(place, "status", "--porcelain") == ""
        assert sum(path.name == "ends" for path in place.rglob("ends")) == 2
    assert commits.check_out(third, place) == (f"moved at {'1' * 12}",)
