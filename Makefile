# Every target first makes the checkout ready; ci/setup is silent when it is.
.DEFAULT_GOAL := help
.PHONY: help run check test test-thorough lint dist shell setup setup-arch setup-dib setup-genesis setup-kernel setup-labgrid clean

help: ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24
	@echo 'Options go into ARGS: make run ARGS=--help, make test ARGS="-k console"'

run: setup ## build the images of the default recipe, boot them in QEMU, judge the run
	.venv/bin/harness run $(ARGS)

shell: setup ## the same boot, then a prompt in the guest
	.venv/bin/harness shell $(ARGS)

check: lint ## before a commit: ruff, mypy, unit tests; less than two minutes
	.venv/bin/pytest -n auto testcases/unit $(ARGS)

test: lint ## the whole suite: ruff, mypy, all tests, real boots
	.venv/bin/pytest -n auto testcases/ $(ARGS)

test-thorough: lint ## the same with large files and many random examples; nightly
	.venv/bin/pytest -n auto -m '' --hypothesis-profile=thorough testcases/ $(ARGS)
	.venv/bin/python benchmarks/lines.py

lint: setup ## ruff and mypy only
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

dist: setup ## wheel and source distribution in dist/
	.venv/bin/python -m hatchling build -d dist

setup: ## install what is missing: Debian packages, Python environment
	@ci/setup

setup-arch: ## the same, and QEMU for other architectures than x86
	@ci/setup --arch

setup-dib: ## the same, and what images of kind dib need
	@ci/setup --dib

setup-genesis: ## the same, and what the tests of genesis' compilers need
	@ci/setup --genesis

setup-kernel: ## the same, and what building kernels needs
	@ci/setup --kernel

setup-labgrid: ## the same, and labgrid, in an environment of its own
	@ci/setup --labgrid

clean: ## remove the environment and tools' caches; runs/ and the image cache stay
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
