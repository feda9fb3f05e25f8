# make demo   boot a real Debian PV kernel from a disk image to user space, here, without Xen
# make test   lint, type check and all tests
# Both set up everything they need: Debian packages (as root), .venv, and the parts in .parts/.

PY := .venv/bin/python

.PHONY: demo test lint generate picture bench images parts packages clean distclean

.venv/installed: pyproject.toml tools/bootstrap.sh fixtures/debian-packages.txt
	tools/bootstrap.sh packages
	tools/bootstrap.sh venv

packages:
	tools/bootstrap.sh packages

demo: .venv/installed
	$(PY) fixtures/demo.py

parts: .venv/installed packages
	$(PY) fixtures/fetch_parts.py

images: .venv/installed
	$(PY) fixtures/make_images.py .parts/images

# What is committed, but derived from something else in the tree.
generate: .venv/installed
	$(PY) tools/generate_formats.py
	$(PY) tools/generate_parsers.py
	$(PY) tools/draw_grammars.py
	$(PY) tools/write_rule_index.py
	$(PY) tools/write_man_pages.py

# The recording in README.md.
picture: .venv/installed
	$(PY) fixtures/make_images.py .parts debian.img
	$(PY) tools/record_terminal.py -o docs/pictures/boot.svg --title 'pvboot boot debian.img' --keys 'Debian GNU=\r' \
		-- .venv/bin/pvboot boot .parts/debian.img

lint: .venv/installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	.venv/bin/lint-imports
	$(PY) -m mypy
	$(PY) -m mypy fixtures

test: lint parts
	$(PY) -m pytest

bench: .venv/installed parts
	for script in benchmarks/*.py; do $(PY) $$script || exit 1; done

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv .parts
