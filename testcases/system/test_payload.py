"""Trees are known by their files, their lists read in every format, and what they lack is said early."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.cli import program
from harness.core.errors import ConfigError
from harness.core.progress import Quiet
from harness.image.factory import Build
from harness.machine.network.http import Mirror
from harness.machine.protocol import Accelerator, Firmware
from harness.machine.spec import DiskBoot, MachineSpec
from harness.payload import chosen, distfiles, packages
from harness.payload.assembly import Choices, added, assemble, config_values, groups_of
from harness.payload.era import Mode, ModeName, era_files, load_era, load_eras
from harness.payload.source_lists import calls, parse_line
from harness.payload.tree import recognise
from harness.recipe import BuilderHex0, Disk, Download, File, Initramfs, Text, contents_of
from harness.run import preflight
from harness.sources.downloads import Downloads
from harness.sources.packages import Lock
from harness.stages.plan_file import load_plan
from harness.store import Store
from testcases.bootstrap import miniature

if TYPE_CHECKING:
    from pathlib import Path

    from harness.payload.era import Era

PARTS = {
    name: name.encode()
    for name in ("busybox-1.35.0", "kexec-tools-2.0.22.tar.gz", "linux.tar.gz", "hello-1.0.txt",
                 "natively-1.0.txt", "vmlinuz", "bash-5.2.15.tar.gz", "gcc-15.2.0.sh")
}  # fmt: skip
SUM = hashlib.sha256(b"x").hexdigest()


@pytest.fixture
def kexec(tmp_path: Path) -> miniature.Miniature:
    return miniature.kexec_era(tmp_path, PARTS)


@pytest.fixture
def steps(tmp_path: Path) -> miniature.Miniature:
    return miniature.steps_era(tmp_path, PARTS)


def test_trees_are_known_by_their_files(kexec: miniature.Miniature) -> None:
    tree = recognise(kexec.path)
    assert (tree.era.name, tree.stray) == ("live-bootstrap-2022-kexec", ())


@pytest.fixture
def kernel(kexec: miniature.Miniature) -> miniature.Miniature:
    """A tree of 2023, which brings its first kernels."""
    files = {
        "lib/tmpdir.py": "",
        "sysa.py": "'NATIVE'\n",
        "kernel-bootstrap/builder-hex0-x86-stage2.hex0": "90\n",
        "sysa/lwext4-1.0.0-lb1/files/early-artifacts-needed-after-fiwix.txt": "/x86/bin/M1\n",
        "sysc/tmp/left": "by an earlier run\n",
    }
    for name, text in files.items():
        path = kexec.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    miniature.git(kexec.path, "add", "-A")
    return kexec


def test_a_change_of_files_is_another_era(kernel: miniature.Miniature) -> None:
    assert recognise(kernel.path).era.name == "live-bootstrap-2023-kexec"
    (kernel.path / "kernel-bootstrap/builder-hex0-x86-stage2.hex0").rename(
        kernel.path / "kernel-bootstrap/builder-hex0-x86.hex0"
    )
    assert recognise(kernel.path).era.name == "live-bootstrap-2023-first-kernel"


@pytest.mark.parametrize("era", load_eras(), ids=lambda era: era.name)
def test_the_marks_of_an_era_tell_it_from_all_others(era: Era, tmp_path: Path) -> None:
    proofs = (f"{module.path}/{module.proof}" for module in era.submodule)
    for name in (*era.present, *proofs):
        path = tmp_path / name.replace("*", "x")
        if not path.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(era.saying.get(name, ""))
    assert recognise(tmp_path).era == era


def test_an_era_can_be_like_another_one(tmp_path: Path) -> None:
    files = era_files()
    shutil.copy(files["live-bootstrap-2022-kexec"], tmp_path / "base.toml")
    own = tmp_path / "own.toml"
    own.write_text('summary = "own"\nlike = "base"\nabsent = ["x"]\n[mode.board]\nrecipe = { plan = "p" }\n')
    era, base = load_era(own), load_era(tmp_path / "base.toml")
    assert (era.summary, era.absent, era.present) == ("own", ("x",), base.present)
    assert era.mode == {**base.mode, "board": Mode(recipe={"plan": "p"})}


@pytest.mark.parametrize("name", ["nowhere", "own", "other"])
def test_an_era_like_none_or_like_itself_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(f'like = "{name}"\n')
    (tmp_path / "other.toml").write_text('like = "own"\n')
    with pytest.raises(ConfigError, match="key like: there is no other era"):
        load_era(tmp_path / "own.toml")


def test_the_next_kernel_gets_a_list_of_the_files_that_are_on_the_disk(kernel: miniature.Miniature) -> None:
    made = assemble(recognise(kernel.path), "builder-hex0")
    image = made.image("sysa")
    assert isinstance(image, BuilderHex0)
    [listed] = [one for one in image.contents if isinstance(one, Text) and one.path.endswith("list.txt")]
    first, *others = listed.text.splitlines()
    assert first == "/x86/bin/M1"
    assert others == sorted(others)
    assert {"/sysa/bootstrap.cfg", "/sysa/distfiles/hello-1.0.txt", "/sysb/init"} <= {*others}
    assert not [path for path in others if "stage0-posix" in path or "/tmp/" in path]


def test_the_list_for_fiwix_of_2024_has_itself_and_what_links_lead_to(steps: miniature.Miniature) -> None:
    place = "steps/lwext4-1.0.0-lb1/files"
    files = {
        "kernel-bootstrap/builder-hex0-x86-stage2.hex0": "90\n",
        f"{place}/early-artifacts-needed-after-fiwix.txt": "/x86/bin/M1\n",
        "steps/hello-1.0/patches/one.patch": "a patch\n",
    }
    for name, text in files.items():
        (steps.path / name).parent.mkdir(parents=True, exist_ok=True)
        (steps.path / name).write_text(text)
    (steps.path / "steps/hello-1.0/patches-pass2").symlink_to("patches")
    miniature.git(steps.path, "add", "-A")
    tree = recognise(steps.path)
    assert tree.era.name == "live-bootstrap-2024-kernel-bootstrap"
    contents = contents_of(assemble(tree, "builder-hex0").image("init"))
    [listed] = [one for one in contents if isinstance(one, Text) and one.path.endswith("list.txt")]
    first, *others = listed.text.splitlines()
    assert (first, others) == ("/x86/bin/M1", sorted(others))
    assert {f"/{place}/fiwix-file-list.txt", "/steps/hello-1.0/patches-pass2/one.patch"} <= {*others}
    assert "/steps/hello-1.0/patches-pass2" not in others
    later = [one.path for one in contents if isinstance(one, Download)]
    assert "external/distfiles/gcc-15.2.0.sh" in later


def test_builder_hex0_gets_the_early_distfiles_and_another_disk_all_of_them(
    steps: miniature.Miniature,
) -> None:
    tree = recognise(steps.path)
    made = assemble(tree, "builder-hex0")
    image, external = made.image("init"), made.image("external")
    assert isinstance(image, BuilderHex0)
    assert isinstance(external, Disk)
    early = {one.path for one in image.contents if isinstance(one, Download)}
    every = {one.path for one in external.partition[0].contents if isinstance(one, Download)}
    assert "external/distfiles/vmlinuz" in early
    later = {"external/distfiles/gcc-15.2.0.sh", "external/distfiles/bash-5.2.15.tar.gz"}
    assert {f"external/{path}" for path in every} - early == later
    values = config_values(tree, "builder-hex0", Choices())
    assert (values["DISK"], values["KERNEL_BOOTSTRAP"]) == ("sdb1", "True")


def test_a_tree_that_is_older_than_a_mode_does_not_offer_it(steps: miniature.Miniature) -> None:
    tree = recognise(steps.path)
    (steps.path / "builder-hex0/builder-hex0-x86-stage1.hex0").unlink()
    with pytest.raises(ConfigError, match="submodule is not checked out: builder-hex0"):
        tree.mode("builder-hex0")
    (steps.path / "lib/generator.py").write_text("")
    with pytest.raises(ConfigError, match=r"mode builder-hex0: lib/generator\.py does not say") as caught:
        tree.mode("builder-hex0")
    assert "qemu (--machine qemu)" in caught.value.hint


def test_builder_hex0_is_a_kernel_of_trees_in_qemu_alone(steps: miniature.Miniature, tmp_path: Path) -> None:
    def wanted(mode: ModeName, tree: Path | None) -> chosen.PayloadRequest:
        return chosen.PayloadRequest(tree=tree, mode=mode, kernel="builder-hex0", incomplete=tree is not None)

    made = chosen.chosen("live-bootstrap", wanted("qemu", steps.path), tmp_path, Quiet())
    assert (made.recipe.document.kernels, made.recipe.boot.memory) == (None, "4G")
    with pytest.raises(ConfigError, match="is for --machine qemu, and chroot was asked for"):
        chosen.chosen("live-bootstrap", wanted("chroot", steps.path), tmp_path, Quiet())
    with pytest.raises(ConfigError, match="no use for --kernel builder-hex0"):
        chosen.chosen("relay", wanted("qemu", None), tmp_path, Quiet())


def test_less_memory_than_builder_hex0_needs_is_said_before_the_boot(
    steps: miniature.Miniature, tmp_path: Path
) -> None:
    made = assemble(recognise(steps.path), "builder-hex0")
    built = Build(made, {}, {}, Lock(()))
    plan, store = load_plan(made.plan), Store(tmp_path / "cache")
    enough = MachineSpec(DiskBoot(), Firmware.BIOS, None, made.boot.memory_bytes, "", Accelerator.TCG)
    assert preflight.check_images(built, plan, enough, store) == ()
    less = msgspec.structs.replace(enough, memory=1 << 30)
    with pytest.raises(ConfigError, match=r"needs 4G of memory, and the machine has 1\.0 GiB"):
        preflight.check_images(built, plan, less, store)


def test_steps_are_known_by_their_files(steps: miniature.Miniature) -> None:
    assert recognise(steps.path).era.name == "live-bootstrap-2024-steps"


def test_what_fits_no_era_is_refused_with_what_was_looked_for_and_found(steps: miniature.Miniature) -> None:
    (steps.path / "steps/manifest").unlink()
    with pytest.raises(ConfigError) as caught:
        recognise(steps.path)
    assert "live-bootstrap-2024-steps (no steps/manifest)" in caught.value.message
    assert "Found: builder-hex0/, lib/, rootfs.py, seed/, steps/" in caught.value.message


def test_submodules_that_are_not_checked_out_are_named(kexec: miniature.Miniature) -> None:
    for name in ("M2-Planet", "mescc-tools"):
        shutil.rmtree(kexec.path / "sysa/stage0-posix/src" / name)
    with pytest.raises(ConfigError, match="2 submodules are not checked out") as caught:
        recognise(kexec.path)
    assert "sysa/stage0-posix/src/M2-Planet, sysa/stage0-posix/src/mescc-tools" in caught.value.message
    assert caught.value.hint == f"git -C {kexec.path} submodule update --init --recursive"
    shutil.rmtree(kexec.path / ".git")  # an archive of sources: git can do nothing there
    with pytest.raises(ConfigError, match="2 submodules are not checked out") as caught:
        recognise(kexec.path)
    assert "has no .git" in caught.value.hint
    assert "git -C" not in caught.value.hint


def test_strays_are_listed_and_left_out(kexec: miniature.Miniature) -> None:
    (kexec.path / "sysa/junk.bin").write_bytes(b"junk")
    assert recognise(kexec.path).stray == ("sysa/junk.bin",)


def test_a_plain_directory_with_the_products_of_a_run_is_refused(kexec: miniature.Miniature) -> None:
    shutil.rmtree(kexec.path / ".git")
    assert recognise(kexec.path).stray is None
    (kexec.path / "sysa/tmp").mkdir()
    with pytest.raises(ConfigError, match=r"sysa/tmp in .* is what an earlier run left"):
        recognise(kexec.path)


@pytest.mark.parametrize("mode", ["qemu", "chroot"])
def test_recipes_of_all_modes_are_whole(kexec: miniature.Miniature, mode: str) -> None:
    tree = recognise(kexec.path)
    made = assemble(tree, mode)  # type: ignore[arg-type]
    (first, *_) = made.images
    assert isinstance(first, Initramfs)
    paths = [getattr(content, "path", "") for content in first.contents]
    assert "sysa/distfiles/hello-1.0.txt" in paths
    assert ("sysc/distfiles/bash-5.1.tar.gz" in paths) == (mode != "qemu")
    config = next(
        content for content in first.contents if getattr(content, "path", "") == "sysa/bootstrap.cfg"
    )
    assert f"CHROOT={mode != 'qemu'}\n" in config.text  # type: ignore[union-attr]


def test_distfiles_of_2023_are_where_sysc_can_move_them(kernel: miniature.Miniature, tmp_path: Path) -> None:
    alone = miniature.two_calls_era(tmp_path / "alone", PARTS)
    for path in (kernel.path, alone.path):
        disk = assemble(recognise(path), "qemu").image("disk")
        assert isinstance(disk, Disk)
        paths = [getattr(content, "path", "") for content in disk.partition[0].contents]
        assert "usr/src/distfiles/bash-5.1.tar.gz" in paths


def test_keys_that_the_tree_does_not_know_are_not_configured(kexec: miniature.Miniature) -> None:
    values = config_values(recognise(kexec.path), "qemu", Choices())
    assert values == {
        "FORCE_TIMESTAMPS": "False",
        "CHROOT": "False",
        "UPDATE_CHECKSUMS": "False",
        "DISK": "sda1",
    }


def test_what_is_left_out_and_the_disk_are_the_users_choice(steps: miniature.Miniature) -> None:
    tree = recognise(steps.path)
    without = frozenset({hashlib.sha256(b"busybox-1.35.0").hexdigest()})
    made = assemble(tree, "qemu", Choices(without=without, disk_size="4G", own_kernel=True))
    disk = made.image("disk")
    assert isinstance(disk, Disk)
    assert (disk.size, disk.partition[0].offset, made.boot.initramfs) == ("4G", "1G", None)
    paths = [getattr(content, "path", "") for content in disk.partition[0].contents]
    assert "external/distfiles/hello-1.0.txt" in paths
    assert "external/distfiles/busybox-1.35.0" not in paths


@pytest.mark.parametrize(
    ("mode", "image"), [("qemu", "disk"), ("builder-hex0", "init"), ("chroot", "root"), ("bwrap", "root")]
)
def test_an_instrumented_tree_has_a_script_more_and_nothing_else(
    steps: miniature.Miniature, mode: ModeName, image: str
) -> None:
    tree = recognise(steps.path)
    plain, more = assemble(tree, mode), assemble(tree, mode, Choices(instrument=True))
    kept, given = (contents_of(made.image(image)) for made in (plain, more))
    script = given[-1]
    assert given == (*kept, script)
    assert isinstance(script, File)
    assert (script.path, script.mode) == ("steps/after/1-harness.sh", 0o755)
    assert (more.base / script.source).read_text().startswith("# Added by the harness")
    assert [other for other in plain.images if other.name != image] == [
        other for other in more.images if other.name != image
    ]
    assert more.plan.stem == f"{plain.plan.stem}-instrumented"
    assert added(tree, mode) == ("steps/after/1-harness.sh",)


@pytest.mark.parametrize("mode", ["qemu", "chroot", "bwrap"])
def test_an_era_without_a_hook_is_not_instrumented(
    kexec: miniature.Miniature, tmp_path: Path, mode: ModeName
) -> None:
    # Nothing was fetched: the refusal comes first.
    wanted = chosen.PayloadRequest(tree=kexec.path, mode=mode, instrument=True)
    with pytest.raises(ConfigError, match="live-bootstrap-2022-kexec, which has no hook for a script"):
        chosen.chosen("live-bootstrap", wanted, tmp_path, Quiet())


def test_a_tree_without_the_hook_is_not_instrumented(steps: miniature.Miniature) -> None:
    wanted = Choices(instrument=True)
    last = steps.path / "steps/improve/after.sh"
    last.write_text(last.read_text().replace("/steps/after", "/elsewhere"))
    with pytest.raises(ConfigError, match=r"steps/improve/after\.sh says nothing of /steps/after"):
        assemble(recognise(steps.path), "qemu", wanted)


def test_a_mode_that_is_not_offered_is_refused(kexec: miniature.Miniature) -> None:
    with pytest.raises(ConfigError, match="does not offer the mode board"):
        assemble(recognise(kexec.path), "board")


def test_a_mode_that_an_era_cannot_have_is_refused_with_the_reason(tmp_path: Path) -> None:
    tree = recognise(miniature.sysc_era(tmp_path, PARTS).path)
    assert tree.era.name == "live-bootstrap-2021-after"
    with pytest.raises(
        ConfigError, match="the mode bwrap: its script has no such mode, and makes device"
    ) as caught:
        tree.mode("bwrap")
    assert "--machine chroot" in str(caught.value.hint)


def test_a_mode_that_was_broken_for_a_day_is_refused(tmp_path: Path) -> None:
    made = miniature.sysc_era(tmp_path, PARTS)
    script = made.path / "sysa/run.sh"
    script.write_text(script.read_text().replace("bootstrap.cfg", "other.cfg"))
    with pytest.raises(ConfigError, match=r"the mode chroot: sysa/run\.sh does not say bootstrap\.cfg"):
        recognise(made.path).mode("chroot")


def test_what_a_manifest_says_is_expected_as_far_as_its_conditions_hold(steps: miniature.Miniature) -> None:
    tree = recognise(steps.path)
    booted = packages.expected(tree, config_values(tree, "qemu", Choices()))
    assert booted == (
        "hello-1.0",
        "hello-1.0",
        "kexec-tools-2.0.22",
        "linux-4.14.341",
        "gcc-15.2.0",
        "bash-5.2.15",
    )
    assert packages.expected(tree, {"CHROOT": "True"}) == (
        "hello-1.0",
        "hello-1.0",
        "natively-1.0",
        "gcc-15.2.0",
        "bash-5.2.15",
    )


@pytest.mark.parametrize(
    ("text", "name", "url", "git"),
    [
        (f"http://a/b/c-1.tar.gz {SUM}", "c-1.tar.gz", "http://a/b/c-1.tar.gz", ""),
        (f"http://a/b/c-1.tar.gz {SUM} d.tar", "d.tar", "http://a/b/c-1.tar.gz", ""),
        (f"f http://a/b/c-1.tar.gz {SUM}", "c-1.tar.gz", "http://a/b/c-1.tar.gz", ""),
        (f"g https://g/r.git~v1 _ {SUM} r-1.tar.gz", "r-1.tar.gz", "", "https://g/r.git~v1"),
        (
            f"git https://g/r~v1 https://g/r/v1.tar.gz {SUM}",
            "v1.tar.gz",
            "https://g/r/v1.tar.gz",
            "https://g/r~v1",
        ),
        (f"https://a/c.tar {SUM} # which one it is", "c.tar", "https://a/c.tar", ""),
    ],
)
def test_every_kind_of_line_is_read(text: str, name: str, url: str, git: str) -> None:
    line = parse_line(text, "p")
    assert line is not None
    assert (line.name, line.url, line.git, line.sha256) == (name, url, git, SUM)


@given(st.text())
def test_any_line_is_read_or_refused_in_words(text: str) -> None:
    try:
        line = parse_line(text, "p")
    except ValueError:
        return  # in words, which the next test reads
    assert line is None or ("/" not in line.name and len(line.sha256) == 64)


def test_a_wrong_line_is_named_with_file_and_number(kexec: miniature.Miniature) -> None:
    (kexec.path / "sysa/hello-1.0/sources").write_text(f"http://a/b {SUM}\nhttp://a/c nothing\n")
    with pytest.raises(ConfigError, match=r"sysa/hello-1.0/sources:2: 'nothing' is no sha256"):
        distfiles.needed(recognise(kexec.path))


def test_calls_of_2021_are_read_without_running_the_script(tmp_path: Path) -> None:
    script = tmp_path / "sysa.py"
    script.write_text(
        "import os; os.abort()\n"
        "class A:\n"
        "  def get_packages(self):\n"
        "    self.get_file(['http://a/x.tar.gz', 'http://a/nyacc-1.tar.gz'],\n"
        "                  output=['mes.tar.gz', 'nyacc-1.tar.gz'])\n"
        "    self.get_file('http://a/perl5.004_05.tar.gz', mkbuild=True)\n"
    )
    mes, perl = calls(script)
    assert (mes.package, [name for name, _ in mes.files]) == ("mes", ["mes.tar.gz", "nyacc-1.tar.gz"])
    assert (perl.package, perl.build) == ("perl5.004_05", True)


def downloads(tmp_path: Path) -> Downloads:
    return Downloads(Store(tmp_path / "cache"), Quiet(), patience=5, pause=0.01, tries=1)


def test_files_come_from_directories_and_mirrors_and_are_counted(
    kexec: miniature.Miniature, tmp_path: Path
) -> None:
    tree, store = recognise(kexec.path), downloads(tmp_path)
    needed = distfiles.needed(tree)
    assert len(distfiles.missing(distfiles.status(needed, store))) == 6
    near = tmp_path / "near"
    near.mkdir()
    shutil.move(kexec.mirror / "hello-1.0.txt", near / "hello-1.0.txt")
    (kexec.mirror / "bash-5.1.tar.gz").write_bytes(b"an error page")
    served = {path.name: path for path in kexec.mirror.iterdir()}
    with Mirror(served) as mirror:
        found = distfiles.fetch(needed, store, [str(near), mirror.address])
    (gone,) = distfiles.missing(found)
    assert gone.distfile.name == "bash-5.1.tar.gz"
    assert "distfiles.invalid" in gone.problem
    assert len(distfiles.missing(distfiles.status(needed, store))) == 1
    assert str(distfiles.lacking(tree, found)).startswith("1 distfile is missing")
    laid = tmp_path / "laid"
    assert distfiles.deliver(found, laid) == 5
    assert (laid / "hello-1.0.txt").read_bytes() == b"hello-1.0.txt"
    (laid / "hello-1.0.txt").write_bytes(b"other")
    (wrong,) = distfiles.verify(needed, [laid], store)
    assert wrong.path == laid / "hello-1.0.txt"


def test_groups_of_a_mode_are_those_that_its_images_hold(kexec: miniature.Miniature) -> None:
    tree = recognise(kexec.path)
    assert groups_of(tree, "qemu") == ("sysa", "sysc")
    with pytest.raises(ConfigError, match="has no distfiles 'sysz'"):
        distfiles.needed(tree, ["sysz"])


def test_the_command_line_says_what_is_missing(kexec: miniature.Miniature, tmp_path: Path) -> None:
    cache = ["--cache", str(tmp_path / "cache")]
    words = ["distfiles", "--tree", str(kexec.path)]
    result = CliRunner().invoke(program(), [*words, "status", *cache])
    assert result.exit_code == 2
    assert "0 of 6 files are at hand" in result.output
    assert result.output.count("hello-1.0.txt") == 1
    each = CliRunner().invoke(program(), [*words, "status", "--all", *cache])
    assert len(each.output.splitlines()) == 8  # titles, a line for each file, and the sum
    fetched = CliRunner().invoke(program(), [*words, "fetch", "--mirror", str(kexec.mirror), *cache])
    assert (fetched.exit_code, "6 of 6 files are at hand" in fetched.output) == (0, True)
    verified = CliRunner().invoke(program(), [*words, "verify", "--directory", str(kexec.mirror), *cache])
    assert verified.exit_code == 0


def test_packages_are_known_by_name_and_occurrence() -> None:
    seen = packages.Packages()
    lines = [
        ' +> pkg="mes-0.24" ',
        "mes-0.24: beginning build using script mes-0.24.sh",
        "mes-0.24: build successful",
        "tcc-0.9.27: beginning build using script pass1.sh",
        "tcc-0.9.27: compiling source.",
        "tcc-0.9.27_0.tar.bz2: OK",
        "tcc-0.9.27: build successful",
        "tcc-0.9.27: beginning build using script pass2.sh",
        "/x/y.tar.gz: FAILED",
    ]
    for number, line in enumerate(lines):
        seen.heard(line, lambda number=number: float(number))  # type: ignore[misc]
    titles = [(package.title, package.state) for package in seen.all]
    assert titles == [("mes-0.24", "done"), ("tcc-0.9.27", "done"), ("tcc-0.9.27 (2)", "building")]
    assert (seen.good, seen.wrong) == (1, ["/x/y.tar.gz"])
    assert seen.all[1].ended == 6


def test_all_eras_are_sound() -> None:
    for era in load_eras():
        assert {group.name for group in era.distfiles}
        assert era.mode
        for name, mode in era.mode.items():
            assert mode.recipe.get("plan"), f"{era.name} has nothing to follow in mode {name}"
            assert ("native" in mode.recipe) == (name in {"chroot", "bwrap"})
        missing = {"chroot", "bwrap"} - {*era.mode}
        assert missing <= {*era.refused}, f"{era.name} does not say why it has no {missing}"
