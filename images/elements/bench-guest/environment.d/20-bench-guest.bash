# diskimage-builder's package-installs is a Python program, in the root.
export DIB_MINBASE_INCLUDE=python3
export DIB_BENCH_PYTHON="${DIB_BENCH_PYTHON:-filelock msgspec pexpect platformdirs rich typer}"
