from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.machine.protocol import EndCause
from harness.stages.plan_file import load_plan
from testcases.support.machines import BEGINS, IMAGES, RELAY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STAGE = """
[[stage]]
name = "one"
title = "the first"
budget = 10
silence = 5
begins = '^one (?P<fact>\\w+)'
notes = ['^note (?P<noted>\\w+)', '^other']

[[stage.checks]]
name = "check"
run = "echo {nonce}"
output = '{nonce_plus_one} (?P<word>\\w{2,3})'
proves = "something"
"""
FAILURE = """
[[failure]]
pattern = '^no (?P<what>\\w+)'
outcome = "FAIL"
reason = "there is no {what}"
hint = "find it"
"""
PLAN = f'summary = "a plan"\nend = "guest-shutdown"\n{STAGE}{FAILURE}'


@pytest.fixture
def wrong(tmp_path: Path) -> Callable[[str], str]:
    """The error that a plan makes, which must name the file."""

    def load(text: str) -> str:
        path = tmp_path / "plan.toml"
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_plan(path)
        return caught.value.message.replace(f"{tmp_path}/", "")

    return load


def replaced(old: str, new: str) -> str:
    assert old in PLAN
    return PLAN.replace(old, new)


def test_plan_is_read(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(PLAN)
    plan = load_plan(path)
    (stage,), (failure,) = plan.stages, plan.failures
    assert (plan.name, plan.end, stage.name, stage.budget) == ("small", "guest-shutdown", "one", 10)
    assert (failure.outcome, failure.clue, failure.screen) == (Outcome.FAIL, False, False)
    begin = plan.begin_marker(stage)
    assert begin is not None
    assert begin.pattern.search("one two")
    assert [marker.pattern.pattern for marker in plan.note_markers(stage)] == list(stage.notes)
    (marker,) = plan.failure_markers(stage)
    assert plan.failure_of(marker) is failure
    assert plan.failure_of(begin) is None


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("begins = '^one", "begins = '(^one", "stage[0].begins"),
        ("'^other'", "'*other'", "stage[0].notes[1]"),
        ("pattern = '^no", "pattern = '[^no", "failure[0].pattern"),
        ("begins = '^one", "milestones = ['+']\nbegins = '^one", "stage[0].milestones[0]"),
        ('hint = "find it"', "hint = \"find it\"\ncontext = ['ok', '(']", "failure[0].context[1]"),
        ('end = "guest-shutdown"', "end = \"line\"\nend-line = '('", "end-line"),
        ("output = '{nonce_plus_one}", "output = '({nonce_plus_one}", "stage[0].checks[0].output"),
    ],
)
def test_bad_pattern_is_named(wrong: Callable[[str], str], old: str, new: str, key: str) -> None:
    error = wrong(replaced(old, new))
    assert error.startswith(f"plan.toml: key {key}: ")
    assert "is no pattern" in error


def test_reason_with_an_unknown_group_is_named(wrong: Callable[[str], str]) -> None:
    error = wrong(replaced("no {what}", "no {waht}"))
    assert error == "plan.toml: key failure[0].reason: {waht} is no named group of the pattern"


@pytest.mark.parametrize("reason", ["no {what", "no }", "no {}", "no {0}", "no {what!x}", "no {what:>q}"])
def test_reason_that_cannot_be_filled_in_is_named(wrong: Callable[[str], str], reason: str) -> None:
    assert "plan.toml: key failure[0].reason: " in wrong(replaced("no {what}", reason))


def test_duplicate_stage_is_named(wrong: Callable[[str], str]) -> None:
    error = wrong(PLAN + STAGE)
    assert error == "plan.toml: key stage[1].name: 'one' is the name of an earlier stage"


def test_failure_of_an_unknown_stage_is_named(wrong: Callable[[str], str]) -> None:
    error = wrong(PLAN + 'stages = ["one", "tow"]\n')
    assert error == "plan.toml: key failure[0].stages: there is no stage 'tow'"


def test_unknown_end_is_named(wrong: Callable[[str], str]) -> None:
    assert wrong(replaced("guest-shutdown", "guest-shutdwon")).startswith("plan.toml: key end: ")


def test_scale_of_an_unknown_accelerator_is_named(wrong: Callable[[str], str]) -> None:
    error = wrong(f"{PLAN}\n[scale]\nkmv = 0.5\n")
    assert error.startswith("plan.toml: ")
    assert "kmv" in error


def test_missing_include_is_named(wrong: Callable[[str], str]) -> None:
    assert wrong(f'include = ["nowhere"]\n{PLAN}') == "cannot read nowhere.toml: No such file or directory"


def test_mistakes_in_included_files_name_them(wrong: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text(FAILURE.replace("^no", "(^no"))
    assert wrong(f'include = ["more"]\n{PLAN}').startswith("more.toml: key failure[0].pattern: ")
    (tmp_path / "more.toml").write_text(PLAN)
    assert wrong(f'include = ["more"]\n{PLAN}').startswith("more.toml: key ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("silence = 5", "silnce = 5", r"stage\[0\]\.s\w+ is (not known|missing)"),
        ("proves =", "prove =", r"stage\[0\]\.checks\[0\]\.prove\w* is (not known|missing)"),
        ("silence = 5\n", "", r"stage\[0\]\.silence is missing"),
        ("summary =", "sumary =", r"sum\w+ is (not known|missing)"),
        ("budget = 10", "budget = 0", r"stage\[0\]\.budget: "),
        ("budget = 10", 'budget = "10"', r"stage\[0\]\.budget: "),
        ('outcome = "FAIL"', 'outcome = "FIAL"', r"failure\[0\]\.outcome: "),
        ('title = "the first"', 'title = "the first"\nprompts = true', r"stage\[0\]\.prompts is not known"),
    ],
)
def test_wrong_keys_are_named(wrong: Callable[[str], str], old: str, new: str, message: str) -> None:
    assert re.match(rf"plan\.toml: key {message}", wrong(replaced(old, new)))


def test_plan_without_stages_is_refused(wrong: Callable[[str], str]) -> None:
    assert "stage" in wrong('summary = "none"\nend = "guest-shutdown"\nstage = []\n')


def test_no_toml_is_named(wrong: Callable[[str], str]) -> None:
    assert wrong("summary =").startswith("plan.toml is not valid TOML")


def test_failures_count_in_their_stages_only(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN + 'stages = ["two"]\n' + STAGE.replace('"one"', '"two"'))
    plan = load_plan(path)
    assert [len(plan.failure_markers(stage)) for stage in plan.stages] == [0, 1]


def test_screen_failures_are_looked_for_on_the_screen_only(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(f"{PLAN}screen = true\n{FAILURE}")
    plan = load_plan(path)
    assert [marker.key for marker in plan.failure_markers(plan.stages[0])] == ["failure:1"]
    assert [marker.key for marker in plan.failure_markers(plan.stages[0], screen=True)] == ["failure:0"]


def test_own_failures_come_before_included_ones(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / f"{name}.toml").write_text(FAILURE.replace("find it", name))
    path = tmp_path / "plan.toml"
    path.write_text(f'include = ["second", "first"]\n{PLAN}')
    assert [failure.hint for failure in load_plan(path).failures] == ["find it", "second", "first"]


GOES_ON = """
summary = "the same, and more"
extends = "small"

[[stage]]
name = "two"
title = "more"
begins = '^two'
budget = 5
silence = 5

[[failure]]
pattern = '^nothing more'
outcome = "FAIL"
reason = "no more"
hint = "look"
"""


def test_a_plan_that_extends_another_one_goes_on_behind_it(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(PLAN)
    (tmp_path / "more.toml").write_text(GOES_ON)
    base, plan = load_plan(tmp_path / "small.toml"), load_plan(tmp_path / "more.toml")
    assert (plan.name, plan.end, plan.scale) == ("more", base.end, base.scale)
    assert [stage.name for stage in plan.stages] == [*(stage.name for stage in base.stages), "two"]
    assert plan.failures[1:] == base.failures
    assert plan.failures[0].pattern == "^nothing more"


def test_a_plan_that_goes_on_can_do_so_with_what_it_includes(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(PLAN)
    (tmp_path / "included.toml").write_text(GOES_ON.replace('extends = "small"', ""))
    words = 'summary = "x"\nextends = "small"\ninclude = ["included"]\n'
    (tmp_path / "more.toml").write_text(f'{words}[native]\nlast-words = "exit"\n')
    plan = load_plan(tmp_path / "more.toml")
    assert plan.stages[-1].name == "two"
    assert plan.failures[-1].pattern == "^nothing more"
    assert plan.native is not None
    assert plan.native.last_words == "exit"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (GOES_ON.replace('extends = "small"', ""), "key end: it is missing"),
        (GOES_ON.replace("extends", 'end = "guest-reset"\nextends'), "key end: it is that of the plan small"),
        (GOES_ON.replace('"two"', '"one"'), "'one' is the name of an earlier stage"),
        (GOES_ON.replace('"small"', '"nowhere"'), "nowhere.toml"),
    ],
)
def test_what_a_plan_that_goes_on_cannot_say_is_named(tmp_path: Path, changed: str, message: str) -> None:
    (tmp_path / "small.toml").write_text(PLAN)
    (tmp_path / "more.toml").write_text(changed)
    with pytest.raises(ConfigError) as refused:
        load_plan(tmp_path / "more.toml")
    assert message in refused.value.message


def test_relay_has_the_stages_of_the_design() -> None:
    names = [stage.name for stage in RELAY.stages]
    assert names[: len(BEGINS)] == list(BEGINS)
    assert names[len(BEGINS) :] == ["gcc", "power-off"]
    assert RELAY.end == EndCause.GUEST_SHUTDOWN


def test_no_relay_failure_is_hidden_behind_an_equal_pattern() -> None:
    patterns = [(failure.pattern, failure.context) for failure in RELAY.failures]
    assert len(set(patterns)) == len(patterns)
    assert all(failure.hint and failure.reason for failure in RELAY.failures)


def test_every_stage_of_the_relay_says_what_to_do() -> None:
    assert all(stage.hint and stage.title for stage in RELAY.stages)
    assert {path.name for path in (IMAGES / "plans").iterdir()} >= {"linux.toml", "relay.toml"}


def test_reason_may_speak_of_context_and_count(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    text = replaced("no {what}", "no {what} in {where}, {count} times")
    path.write_text(text + "context = ['^in (?P<where>.*)$', '^by']\n")
    plan = load_plan(path)
    assert plan.failures[0].fields == {"what", "where", "count"}
    assert [marker.key for marker in plan.quiet_markers(plan.stages[0])] == [
        "context:^in (?P<where>.*)$",
        "context:^by",
    ]


@pytest.mark.parametrize("end", ['end = "line"', "end = \"guest-reset\"\nend-line = '^done$'"])
def test_end_and_its_line_go_together(wrong: Callable[[str], str], end: str) -> None:
    error = wrong(replaced('end = "guest-shutdown"', end))
    assert error == 'plan.toml: key end-line: it goes with end = "line", and that with it'


@pytest.mark.parametrize("key", ["times = 0", 'progress = ["dsik"]', "wraps = -1", "limit = -1"])
def test_values_without_a_meaning_are_named(wrong: Callable[[str], str], key: str) -> None:
    text = PLAN + key if key.startswith("times") else replaced("silence = 5", f"silence = 5\n{key}")
    assert key.split(maxsplit=1)[0] in wrong(text)
