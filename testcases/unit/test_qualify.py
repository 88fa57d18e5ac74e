"""Qualification: answers on consoles, the table's rows, the least memory, and advice; every row can fail."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core import paths
from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.machine.command import Ends, command_words
from harness.machine.protocol import Accelerator, Firmware
from harness.machine.spec import Bus, DirectBoot, Drive, MachineSpec
from harness.qualify import qualification as qualification_module
from harness.qualify import questions
from harness.qualify.advice import Known, advise
from harness.qualify.qualification import LADDER, Bounds, Qualification, Relay, exit_status, smallest
from harness.qualify.questions import Answer, Word, load_questions, read_answers
from harness.qualify.table import advice_lines, table_rows
from harness.recipe import load_recipe
from harness.stages.needs import KernelNeeds, Needs
from harness.stages.plan_file import needs_files
from harness.stages.verdict import Verdict
from testcases.unit.test_features import EVERYTHING, image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.recipe import Recipe

RECORDED = Path(__file__).parent / "qualify"
PASSED = Verdict(Outcome.PASS, "jump", "every stage and check of the plan passed")
INIT = {"init": Answer(Word.YES, "6.1.0")}


def qualification(
    answers: Mapping[str, Answer],
    *,
    verdict: Verdict = PASSED,
    memory: Bounds | None = None,
    relay: Relay | None = None,
    advised: bool = True,
) -> Qualification:
    known = Known(image(), EVERYTHING, answers)
    return Qualification(
        kernel="own",
        version="6.1.0-50-own",
        bits=64,
        sha256="0" * 64,
        verdict=verdict,
        serial="init" in answers,
        answers=dict(answers),
        to_init=5.25 if "init" in answers else None,
        memory=memory,
        relay=relay,
        advice=tuple(advise(known, needs_files())) if advised else (),
        records=("runs/one",),
    )


def rows(*found: Qualification) -> dict[str, tuple[str, ...]]:
    return dict(table_rows(found))


# --- answers ---


def test_answers_of_a_stock_kernel() -> None:
    answers = read_answers((RECORDED / "debian-6.1-i686.raw").read_bytes())
    assert set(load_questions()) <= set(answers)
    assert {answers[name].word for name in ("ide", "ahci", "nvme", "virtio-disk", "usb-disk", "ext3")} == {
        Word.MODULE
    }
    assert {answers[name].word for name in ("gzip", "zstd", "kexec-load-64", "i386-programs")} == {Word.YES}
    assert answers["x86_64-programs"].word == Word.NO
    assert answers["kexec-file-32"] == Answer(Word.NO, "syscall kexec_file_load not available.")
    assert answers["kexec-jump"].word == Word.YES
    assert answers["kexec-jump"].detail.endswith("-amd64 x86_64")


def test_answers_of_a_kernel_without_disks() -> None:
    answers = read_answers((RECORDED / "tiny-6.1-i686-initramfs-only.raw").read_bytes())
    assert {answers[name].word for name in ("ide", "ahci", "nvme", "virtio-disk", "usb-disk")} == {Word.NO}
    assert answers["ext4"] == Answer(Word.UNTESTED, "no partition")
    table = rows(qualification(answers))
    assert table["IDE disk (PIIX)"] == ("✗",)
    assert table["ext4"] == ("? no partition",)
    assert table["MBR partitions"] == ("? no disk",)


def test_the_first_answer_counts_and_broken_lines_do_not() -> None:
    console = (
        b"probe ide yes sda\r\r\n[ 1.2] probe ahci yes\r\nprobe nvme maybe\r\n"
        b"probe ide no\r\nprobe ext2 [ 2.0] yes\r\nprobe usb-disk module sdc\n"
    )
    assert read_answers(console) == {
        "ide": Answer(Word.YES, "sda"),
        "usb-disk": Answer(Word.MODULE, "sdc"),
    }


@given(st.binary(max_size=300))
def test_any_console_can_be_read(console: bytes) -> None:
    assert all(isinstance(answer, Answer) for answer in read_answers(console).values())


def test_init_asks_every_question() -> None:
    init = (paths.data_root() / "images/qualify/init").read_text()
    for name in load_questions():
        stem = re.sub(r"-(32|64)$", "-$width", name)
        asked = rf"(?:say|answer|runs|loads) \"?{re.escape(stem)}\b|\b{re.escape(name)}\b"
        assert re.search(asked, init), name


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[[question]]\nname = "a"\nwhat = "a"\nfeature = "wings"\n', r"question\[0\]\.feature: there is no"),
        ('[[question]]\nname = "a"\nwhat = "a"\n' * 2, r"question\[1\]\.name: 'a' is there twice"),
        ('[[question]]\nname = "a"\n', "what"),
    ],
)
def test_wrong_questions_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    path = tmp_path / "questions.toml"
    path.write_text(text)
    monkeypatch.setattr(questions, "questions_file", lambda: path)
    load_questions.cache_clear()
    try:
        with pytest.raises(ConfigError, match=problem):
            load_questions()
    finally:
        load_questions.cache_clear()


class _Run:
    """As much of a run as is looked at."""

    def __init__(self, directory: Path, console: bytes) -> None:
        self.directory = directory
        directory.mkdir()
        (directory / "console.raw").write_bytes(console)


def test_a_compression_behind_an_unknown_one_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def boot(_: object, recipe: Recipe) -> _Run:
        name = recipe.boot.initramfs or ""
        asked.append(name)
        assert recipe.boot.drive == ()
        said = {"small-lz4": b"probe init yes 6\nprobe lz4 yes\n", "small-zstd": b"probe init yes 6\n"}
        return _Run(tmp_path / name, said[name])

    monkeypatch.setattr(qualification_module._Qualifier, "_boot", boot)
    asker = qualification_module._Qualifier.__new__(qualification_module._Qualifier)
    behind = Answer(Word.UNTESTED, "behind xz")
    answers = {"gzip": Answer(Word.YES), "xz": Answer(Word.NO), "lz4": behind, "zstd": behind}
    found = asker._hidden(load_recipe("qualify"), answers)
    assert asked == ["small-lz4", "small-zstd"]
    assert found == {"lz4": Answer(Word.YES), "zstd": Answer(Word.NO)}


# --- the table ---


@pytest.mark.parametrize("name", load_questions())
def test_every_row_says_what_was_answered(name: str) -> None:
    title = load_questions()[name].what
    words = {
        Answer(Word.YES): "✓",
        Answer(Word.MODULE, "sda"): "✓ as a module",
        Answer(Word.NO): "✗",
        Answer(Word.NO, "why"): "✗ why",
        Answer(Word.UNTESTED, "no disk"): "? no disk",
    }
    found = [qualification({**INIT, name: answer}, advised=False) for answer in words]
    assert rows(*found, qualification(INIT, advised=False))[title] == (*words.values(), "?")


def test_a_kernel_that_does_not_come_up() -> None:
    hang = Verdict(Outcome.HANG, "kernel", "nothing was heard for 60 s", "try")
    table = rows(qualification({}, verdict=hang))
    assert table["boots"] == ("✗ nothing was heard for 60 s",)
    assert table["serial console"] == ("✗ nothing was heard",)
    assert table["CPU-s to init"] == table["least memory"] == table["relay"] == ("?",)
    assert all(each.fits is False for each in qualification({}, verdict=hang).advice)


def test_rows_of_numbers() -> None:
    failed = Verdict(Outcome.FAIL, "sysa", "the kernel refuses kexec")
    good = qualification(INIT, memory=Bounds(48, 40), relay=Relay(PASSED, 4.84, 10.2, ""))
    bad = qualification(INIT, memory=Bounds(None, 512), relay=Relay(failed, None, None, ""))
    table = rows(good, bad, qualification(INIT, memory=Bounds(8, None)))
    assert table["least memory"] == ("48 MiB (40 are too little)", "more than 512 MiB", "8 MiB")
    assert table["relay"] == ("✓", "✗ FAIL in sysa: the kernel refuses kexec", "?")
    assert table["relay: CPU-s to init"] == ("4.8", "?", "?")
    assert table["relay: CPU-s to prompt"] == ("10.2", "?", "?")
    assert table["CPU-s to init"] == ("5.2",) * 3


def test_the_exit_status_says_whether_all_boot() -> None:
    assert exit_status([qualification(INIT)]) == 0
    assert exit_status([qualification(INIT), qualification({})]) == Outcome.FAIL.exit_code


# --- the least memory ---


@given(st.integers(min_value=1, max_value=600))
def test_the_least_memory(limit: int) -> None:
    tried: list[int] = []

    def works(size: int) -> bool:
        tried.append(size)
        return size >= limit

    bounds = smallest(works)
    assert bounds.least == min((size for size in LADDER if size >= limit), default=None)
    assert bounds.too_little == max((size for size in LADDER if size < limit), default=None)
    assert len(tried) <= 5
    assert len(set(tried)) == len(tried)


@given(st.integers(1, 600), st.floats(0, 700))
def test_a_guess_changes_only_how_often_is_tried(limit: int, guess: float) -> None:
    tried: list[int] = []

    def works(size: int) -> bool:
        tried.append(size)
        return size >= limit

    bounds = smallest(works, guess=guess)
    assert bounds == smallest(lambda size: size >= limit)
    assert len(set(tried)) == len(tried) <= 8
    if bounds.least and bounds.too_little and bounds.too_little < guess <= bounds.least:
        assert tried == [bounds.least, bounds.too_little]


def test_the_guess_comes_from_what_the_kernel_kept_for_itself() -> None:
    recipe = load_recipe("qualify")
    enough = qualification_module._enough
    assert enough(recipe, {"memory": Answer(Word.YES, "1021444 KiB")}) == pytest.approx(26.5 + 12, abs=0.1)
    assert enough(recipe, {"memory": Answer(Word.YES, "plenty")}) is None
    assert enough(recipe, {}) is None


# --- advice ---

NEEDS = Needs(seed=KernelNeeds(built_in=("ide",), modular=("ext4",)))


def judged(
    answers: Mapping[str, Answer], symbols: Mapping[str, str] | None = EVERYTHING
) -> tuple[bool | None, tuple[str, ...]]:
    (found,) = advise(Known(image(), symbols, {**INIT, **answers}), {"own": ("a plan", NEEDS)})
    return found.fits, found.why


def test_what_was_seen_counts_more_than_the_configuration() -> None:
    seen = {"ide": Answer(Word.YES), "ext4": Answer(Word.MODULE)}
    assert judged(seen, {}) == (True, ())
    assert judged(seen, None) == (True, ())
    fits, why = judged({**seen, "ide": Answer(Word.NO)})
    assert (fits, why) == (False, ("it lacks IDE disks of a PC (PIIX)",))


def test_a_module_is_not_enough_where_nothing_loads_it() -> None:
    seen = {"ide": Answer(Word.MODULE), "ext4": Answer(Word.YES)}
    fits, (why,) = judged(seen, EVERYTHING | {"ATA_PIIX": "m"})
    assert not fits
    assert why == "IDE disks of a PC (PIIX): only as a module (CONFIG_ATA_PIIX=m)"


def test_what_might_be_a_module_of_a_kernel_that_came_without() -> None:
    answers = {**INIT, "ide": Answer(Word.NO), "ext4": Answer(Word.NO)}
    for symbols, fits, words in (
        (EVERYTHING | {"ATA_PIIX": "m", "EXT4_FS": "m"}, False, ["not built in (CONFIG_ATA_PIIX=m)"]),
        (EVERYTHING | {"EXT4_FS": "n", "EXT3_FS": "n"}, False, ["it lacks IDE", "it lacks ext4"]),
    ):
        (found,) = advise(Known(image(), symbols, answers, modules=False), {"own": ("a plan", NEEDS)})
        assert found.fits is fits
        assert len(found.why) == len(words)
        assert all(word in why for word, why in zip(words, found.why, strict=True))


def test_the_configuration_counts_where_nothing_was_seen() -> None:
    assert judged({}) == (True, ())
    fits, why = judged({"ext4": Answer(Word.UNTESTED, "no partition")}, EVERYTHING | {"EXT4_FS": "n"})
    assert not fits
    assert "ext4" in why[0]


def test_without_either_nobody_knows() -> None:
    fits, why = judged({"ide": Answer(Word.YES)}, None)
    assert fits is None
    assert why == ("it is not known whether it has ext4 filesystems",)


def test_advice_in_words() -> None:
    lines = list(advice_lines([qualification({**INIT, "kexec-load-32": Answer(Word.NO)})]))
    assert any(line.startswith("  ✓ fits stage0-posix: ") for line in lines)
    bad = next(number for number, line in enumerate(lines) if line.startswith("  ✗ not live-bootstrap-steps"))
    assert "it lacks kexec" in lines[bad + 1]
    assert lines[-1] == "  records: runs/one"


# --- the machine with further disks ---


def test_both_recipes_differ_only_in_width() -> None:
    narrow, wide = load_recipe("qualify"), load_recipe("qualify-x86_64")
    assert (narrow.debian.architecture, wide.debian.architecture) == ("i386", "amd64")
    assert narrow.boot == wide.boot
    assert {drive.bus for drive in narrow.boot.drive} == set(Bus)
    names = {image.name for image in narrow.images}
    assert {image.name for image in wide.images} | {"arrived"} == names
    sizes = [image.size_bytes for image in narrow.images if image.name.startswith("disk-")]  # type: ignore[union-attr]
    init = (paths.data_root() / "images/qualify/init").read_text()
    assert len(set(sizes)) == len(Bus)
    assert all(f"echo {size >> 10} ;;" in init for size in sizes), "init knows disks by their size"


def test_drives_get_controllers(tmp_path: Path) -> None:
    drives = tuple(Drive(tmp_path / f"{bus},1.img", bus) for bus in (*Bus, Bus.AHCI))
    boot = DirectBoot(tmp_path / "k", tmp_path / "i", "console=ttyS0")
    spec = MachineSpec(boot, Firmware.BIOS, None, 64 << 20, "", Accelerator.TCG, drives=drives)
    words = command_words("qemu", spec, Ends(3, 4, 5), tmp_path, tmp_path / "overlay")
    devices = [words[number + 1] for number, word in enumerate(words) if word == "-device"]
    assert devices == [
        "ich9-ahci,id=ahci",
        "qemu-xhci,id=xhci",
        "usb-ehci,id=ehci",
        "piix3-usb-uhci,id=uhci",
        "pci-ohci,id=ohci",
        "ide-hd,bus=ide.1,unit=0,drive=drive0",
        "ide-hd,bus=ahci.0,drive=drive1",
        "nvme,serial=drive2,drive=drive2",
        "virtio-blk-pci,drive=drive3",
        "usb-storage,bus=xhci.0,drive=drive4",
        "usb-storage,bus=ehci.0,drive=drive5",
        "usb-storage,bus=uhci.0,drive=drive6",
        "usb-storage,bus=ohci.0,drive=drive7",
        "ide-hd,bus=ahci.1,drive=drive8",
    ]
    files = [word for word in words if word.startswith("file=")]
    assert files[0] == f"file={tmp_path}/ide,,1.img,format=raw,if=none,id=drive0,snapshot=on"
    assert len(files) == len(drives)
