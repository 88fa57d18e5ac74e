from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.record.reading import read_run
from harness.report.compare import compare, normalised
from harness.stages import products
from harness.stages.products import Difference, difference
from harness.stages.verdict import CheckResult
from testcases.support.records import leave_run
from testcases.support.typed import typed

if TYPE_CHECKING:
    from pathlib import Path

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("[    0.000000] Linux version 6.1", "[   12.345678] Linux version 6.1"),
        ("found at [mem 0x000f5ba0-0x000f5baf]", "found at [mem 0x000f5bb0-0x000f5bff]"),
        ("Call Trace: ffff88800010a0c0", "Call Trace: ffff88810010a0c4"),
        ("built in 3.25 s", "built in 17 s"),
        ("Sat Nov 21 06:26:24 UTC 2026", "Sun Nov 22 07:01:00 UTC 2026"),
        (
            "setting system clock to 2026-11-21T06:26:09 UTC (1795242369)",
            "setting system clock to 2026-11-22T07:00:00 UTC (1795329969)",
        ),
        ("tsc: Detected 2445.404 MHz processor", "tsc: Detected 2399.998 MHz processor"),
    ],
)
def test_times_and_addresses_make_no_difference(first: str, second: str) -> None:
    assert normalised(first) == normalised(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (f"{A}  tcc", f"{B}  tcc"),
        ("d41d8cd98f00b204e9800998ecf8427e  tcc", "d41d8cd98f00b204e9800998ecf8427f  tcc"),
        ("Linux version 6.1.0-50", "Linux version 6.1.0-51"),
        ("tcc-0.9.26: OK", "tcc-0.9.27: OK"),
        ("exit status 1", "exit status 2"),
        ("deadbeef-cafe feedface", "deadbeef-cafe feedfade"),
    ],
)
def test_everything_else_does(first: str, second: str) -> None:
    assert normalised(first) != normalised(second)


@given(st.text())
def test_what_is_normalised_stays(line: str) -> None:
    assert normalised(normalised(line)) == normalised(line)


def test_only_real_differences_of_consoles_are_shown(tmp_path: Path) -> None:
    same = "[    0.1] up\n[    1.000000] a at 0x1000\nb\n"
    said = {"sysa": same, "sysb": "x\ny\n", "shell": "nonce 1\n"}
    other = {
        "sysa": "[    0.1] up\nb\n[    2.000000] a at 0x2000\n",
        "sysb": "x\nz\nz\n",
        "shell": "nonce 2\n",
    }
    check = CheckResult("shell", "answers", passed=True, answer="", seconds=1, offset=0)
    first = leave_run(tmp_path, "1", console=said, checks=(check,), sysa=1, sysb=2)
    second = leave_run(tmp_path, "2", console=other, checks=(check,), sysa=1, sysb=4)
    comparison = compare(read_run(first), read_run(second))
    [console] = comparison.consoles
    assert (console.stage, console.only_first, console.only_second) == ("sysb", ("y",), ("z",))
    assert (console.first_count, console.second_count) == (1, 2)
    assert (comparison.inputs, comparison.ends, comparison.produced) == ((), (), None)
    assert [(stage.first_wall, stage.second_wall) for stage in comparison.stages] == [(1, 1), (2, 4)]


def test_inputs_verdicts_and_answers_are_compared(tmp_path: Path) -> None:
    good = CheckResult("shell", "answers", passed=True, answer="", seconds=1, offset=0)
    bad = CheckResult("shell", "answers", passed=False, answer="41", seconds=1, offset=0)
    first = leave_run(tmp_path, "1", checks=(good,), sysa=1)
    second = leave_run(tmp_path, "2", checks=(bad,), inputs="new", kernel="mine", outcome=Outcome.FAIL, gcc=1)
    comparison = compare(read_run(first), read_run(second))
    assert [change.what for change in comparison.inputs] == ["recipe_sha256", "kernel seed"]
    assert [change.what for change in comparison.ends] == ["verdict", "check shell: answers"]
    assert comparison.ends[1].second == "failed: 41"
    assert [(stage.name, stage.first, stage.second) for stage in comparison.stages] == [
        ("sysa", "passed", ""),
        ("gcc", "", "passed"),
    ]


def test_produced_files_are_compared_by_hash(tmp_path: Path) -> None:
    assert products.read(tmp_path) is None
    (tmp_path / "manifest.sha256").write_text(f"{A}  bin/tcc\n{B} *bin/sh\n\\{B}  odd\\nname\\\\x\n")
    made = products.read(tmp_path)
    assert made == {"bin/tcc": A, "bin/sh": B, "odd\nname\\x": B}
    assert difference(made, {"bin/tcc": B, "bin/sh": B, "new": A}) == Difference(
        same=1, differing=("bin/tcc",), only_first=("odd\nname\\x",), only_second=("new",)
    )


def test_files_that_differ_and_that_both_records_kept_are_named(tmp_path: Path) -> None:
    records = [leave_run(tmp_path, name, console={"sysa": ""}, sysa=1) for name in "12"]
    for record, digest in zip(records, (A, B), strict=True):
        (record / "files/bin").mkdir(parents=True)
        (record / "files/bin/tcc").write_text(digest)
        (record / "manifest.sha256").write_text(f"{digest}  /bin/sh\n{digest}  /bin/tcc\n")
    comparison = compare(*map(read_run, records))
    assert comparison.kept == ("/bin/tcc",)


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.sha256").write_text(f"{A}  tcc\n{A[:50]}\n")
    with pytest.raises(ConfigError, match=r"manifest\.sha256: line 2 is none of sha256sum's"):
        products.read(tmp_path)


@pytest.mark.parametrize(("said", "status"), [("up\n", 0), ("down\n", 1)])
def test_the_command_says_by_its_exit_code_whether_runs_differ(
    tmp_path: Path, said: str, status: int
) -> None:
    leave_run(tmp_path, "first", console={"sysa": "up\n"}, sysa=1)
    leave_run(tmp_path, "second", console={"sysa": said}, sysa=2)
    done = typed("compare", "first", "second", "--runs", str(tmp_path))
    assert done.returncode == status, done.stderr
    assert ("  + down" in done.stdout) == bool(status)
    assert "+100%" in done.stdout
