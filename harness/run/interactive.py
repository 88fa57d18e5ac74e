"""Interactive runs: console display, keyboard ownership, shell after a failure."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from threading import RLock
from typing import TYPE_CHECKING

import msgspec

from harness.console.keyboard import Keyboard, Phase
from harness.console.window import Window, window_of
from harness.core.errors import ConfigError
from harness.stages.events import CheckBegan, Event, Listener, Operator, StageBegan, TakenOver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from harness.console.lines import Block
    from harness.console.recorder import Recorder
    from harness.console.terminal import Terminal
    from harness.report.progress import TerminalProgress
    from harness.stages.verdict import Verdict

_CONTEXT = 2000  # bytes of a broken guest's console that are shown once more


class InteractiveRequest(msgspec.Struct, frozen=True):
    """What a person wants of a run."""

    attach: bool = False  # see the console from the beginning
    takeover: bool = False  # type from the beginning
    prompt: bool = False  # have the guest's shell when the checks are done
    on_failure: bool = False  # have a guest that failed

    def check(self) -> None:
        """Find out, before anything is built, whether they can be had."""
        for wanted, option in (
            (self.takeover, "--takeover"),
            (self.attach, "--attach"),
            (self.on_failure, "--on-failure shell"),
        ):
            if wanted and not os.isatty(sys.stdin.fileno()):
                hint = "leave it out; `harness watch` shows the console of a run that goes on elsewhere"
                raise ConfigError(f"{option} needs a terminal, and stdin is none", hint=hint)


class InteractiveRun(Operator):
    """A person at a run, who reads what we say on `console`. A `Listener`, too.

    The progress shows the run as long as its console is not shown.
    """

    def __init__(self, wanted: InteractiveRequest, progress: TerminalProgress, console: Console) -> None:
        self._wanted = wanted
        self._progress = progress
        self._console = console
        self._stage = "start"
        self._terminal: Terminal | None = None  # while the console is shown
        self._changing = RLock()  # the user leaves in a thread of its own
        self._aside = ExitStack()
        self.taken_over: TakenOver | None = None

    @contextmanager
    def at(self, recorder: Recorder, listener: Listener) -> Iterator[None]:
        """Be there from the first byte to the last; the listener is told when they take the keyboard."""
        self._recorder, self._listener = recorder, listener
        self._keyboard = Keyboard(recorder, takeover=self._wanted.takeover, taken=self._take_over)
        if not self._wanted.attach:
            yield
            return
        from harness.console.terminal import Terminal

        with Terminal(recorder, self._keyboard, offset=recorder.size, left=self._leave) as terminal:
            try:
                self._open(terminal)
                keys = "what you type goes to the guest" if self._wanted.takeover else "keys go nowhere yet"
                terminal.say(f"the guest's console; {keys}; Ctrl-] leaves it, and the run goes on")
                yield
            finally:
                terminal.close()
                self._close()

    def event(self, event: Event) -> None:
        """Show on the console what happens in the run."""
        if isinstance(event, StageBegan):
            self._stage = event.stage
        with self._changing:
            if self._terminal is None:
                return
            if isinstance(event, StageBegan):
                self._terminal.say(f"stage {event.stage}")
            elif isinstance(event, CheckBegan):
                self._terminal.say(f"{event.stage}: check {event.name}")

    def heard(self, block: Block) -> None:
        """The terminal shows the bytes themselves."""

    @property
    def wants_shell(self) -> bool:
        """Whether they want the shell when the checks are done, and have not left."""
        return self._wanted.prompt or (self._wanted.attach and self._terminal is not None)

    @property
    def wants_broken(self) -> bool:
        """Whether they want a guest that failed."""
        return self._wanted.on_failure

    @property
    def window(self) -> Window | None:
        """The size of their terminal."""
        return window_of(sys.stdin.fileno())

    def watch(self) -> None:
        """From now on the plan only watches."""
        self._keyboard.turn(Phase.WATCHED)

    def listen(self) -> None:
        """From now on only the harness types."""
        self._keyboard.turn(Phase.ASKED)

    def use_shell(self, offset: int) -> None:
        """Give them the shell, whose prompt comes after this raw offset, until they leave it."""
        self._give("The guest's bash is yours. Leave it with Ctrl-].", offset)

    def use_broken(self, verdict: Verdict, *, gone: bool, prompt: int | None) -> None:
        """Show them why the guest failed, and give them what there is of it, until they leave.

        Args:
            verdict: Why.
            gone: Whether there is nothing of it any more.
            prompt: Where on the console the prompt of its shell comes, in raw bytes; None: there may be none.
        """
        with self._changing:
            if self._terminal is not None:
                self._terminal.close()
                self._close()
        from harness.report.summary import (
            show_verdict,
        )  # tables, which a run without a person has no use for yet

        with self._progress.stepped_aside():
            self._console.print()
            show_verdict(self._console, verdict)
        if gone:
            self._progress.note("The machine has ended, and there is nothing left to attach to.")
            return
        what = ", and its shell is yours"
        if prompt is None:
            what = ": what you type goes to the program that reads its console, if there is one"
        self._give(
            f"The guest is as it failed{what}. Ctrl-] leaves it and ends the run.",
            self._recent() if prompt is None else prompt,
        )

    def _recent(self) -> int:
        """Where the last lines of the console begin."""
        start = max(0, self._recorder.size - _CONTEXT)
        return start + self._recorder.read(start, _CONTEXT).find(b"\n") + 1 if start else 0

    def _give(self, words: str, offset: int) -> None:
        from harness.console.terminal import Terminal

        with self._changing:
            terminal = self._terminal
        before = self._keyboard.turn(Phase.YOURS)
        try:
            if terminal is not None:
                terminal.say(words)
                terminal.wait()
            else:
                with self._progress.stepped_aside():
                    self._console.print(words, style="bold", highlight=False)
                    with Terminal(self._recorder, self._keyboard, offset=offset) as terminal:
                        terminal.wait()
        finally:
            self._keyboard.turn(before)

    def _take_over(self, offset: int) -> None:
        self.taken_over = TakenOver(self._stage, round(self._recorder.seconds, 6), offset)
        self._listener.event(self.taken_over)

    def _open(self, terminal: Terminal) -> None:
        with self._changing:
            self._aside.enter_context(self._progress.stepped_aside(terminal.say))
            self._terminal = terminal

    def _leave(self) -> None:
        """They have left while the run goes on: in the terminal's thread."""
        if self._keyboard.phase == Phase.YOURS:
            return  # `_give` waits for that and gives the terminal back
        with self._changing:
            if self._terminal is not None:
                self._terminal.close()
                self._close()
                self._progress.note("you have left the console, and the run goes on")

    def _close(self) -> None:
        with self._changing:
            if self._terminal is not None:
                self._terminal = None
                self._aside.close()
