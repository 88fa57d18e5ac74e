"""`harness kernel`: seed kernels."""

from __future__ import annotations

import typer

from harness.cli import kernel_build

app = typer.Typer(help="Seed kernels: build them.", no_args_is_help=True)
app.command("build")(kernel_build.build)
