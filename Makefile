# `make demo` and `make test` need Python 3.11 or newer and nothing else: they make their own .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TOOLS := .venv-tools
COMPILE := $(TOOLS)/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header pyproject.toml
ARGS ?=
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
# Processes of a test run; each has servers of its own. Tests wait more than they compute, so there are four times as many
# as cores, and 8 at most. JOBS=0 runs all in one process, as --pdb and one external server need it.
JOBS ?= $(shell n=$$(($(CORES) * 4)); [ $$n -gt 8 ] && echo 8 || echo $$n)
# The tests start hundreds of relays. Where the environment keeps Python from writing bytecode each would compile itself
# again, 0.1 s of a core, and each process of pytest all the tests, 5 s.
export PYTHONDONTWRITEBYTECODE :=
export DOCKER ?= docker
# The image's base, and what else its build is told (--network=host, --secret=id=ca,src=ca.pem); empty: the Dockerfile's.
export PYTHON_IMAGE ?=
export DOCKER_BUILD ?=
# What compose.yaml is run with: `docker compose`, or docker-compose.
export COMPOSE ?=
ENGINE := $(BIN)/python -m tests.support.docker_engine
AT_ONCE := @$(BIN)/python -m tests.support.side_by_side
# That of the test extra; of PATH on machines for which there is no wheel of it.
HELM = $(or $(wildcard $(BIN)/helm),helm)

.PHONY: help demo console-demo example-orders example-telemetry servers check test compiled programs drivers chaos lint style types unit sql docs bench lock sbom image image-base image-test \
	release release-image clean

help:
	@echo "make demo    orders, relay, read model: live in the terminal (ARGS=\"--events 5000 --plain\")"
	@echo "make example-orders      a shop, its list of orders and views, with faults on the way"
	@echo "make example-telemetry   devices, Redis and PostgreSQL, with faults on the way (ARGS=\"--seconds 60\")"
	@echo "make console-demo   the operator's console over the demo's shop, until Ctrl-C (ARGS=8080: another port)"
	@echo "make servers PostgreSQL and nats-server to try things on, until Ctrl-C (docs/tutorial.md)"
	@echo "make check   lint and unit tests: within a minute, for every change"
	@echo "make test    the whole suite on real servers (JOBS=2: in two processes)"
	@echo "make drivers   what the tests of the guide's samples in Go, Java and Node need, into .programs"
	@echo "make chaos   faults at random on a cluster (ARGS=\"--minutes 10 --seed 7\")"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make sql     a statement with its shared parts, for psql (QUERY=delivery/fetch)"
	@echo "make docs    docs/reference/cli.md, and what is made in helm/"
	@echo "make bench   the benchmark (ARGS=\"--quick\")"
	@echo "make image   the container image, outbox-relay:dev (PYTHON_IMAGE=python:3.13-slim-bookworm)"
	@echo "make image-test   build it and run it for real; docs/operations/packaging.md"
	@echo "make release   wheels, sdists, chart and SBOM into dist/release, checked (TAG=v1.2.3); uploads and signs nothing"
	@echo "make release-image   the image as an archive beside them, with its digest"
	@echo "make sbom    what the image runs with, as CycloneDX"

$(READY): requirements/constraints.txt pyproject.toml client/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . -e client
	touch $@

demo: $(READY)
	@$(BIN)/relay demo $(ARGS)

example-orders: $(READY)
	@$(BIN)/python -m examples.orders $(ARGS)

example-telemetry: $(READY)
	@$(BIN)/python -m examples.telemetry $(ARGS)

console-demo: $(READY)
	@$(BIN)/python -m relay.demo.console $(ARGS)

servers: $(READY)
	@$(BIN)/python -m relay.demo.scratch $(ARGS)

# What every change has to pass before anything else: lint, types, unit tests.
check: $(READY)
	$(AT_ONCE) "$(MAKE) -s style" "$(MAKE) -s types" "$(MAKE) -s unit"

test: $(READY)
	$(AT_ONCE) "$(MAKE) -s programs" "$(MAKE) -s compiled"
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

# The tests, compiled with pytest's asserts: in a fresh clone each process of a run would do that again, all at the same time. What is
# wrong with them the run itself says.
compiled:
	-@$(BIN)/python -m pytest --collect-only -q $(ARGS) > /dev/null 2>&1

# Prometheus and PgBouncer for the tests: into .programs, if they are not installed.
programs:
	@sh tests/support/programs.sh .programs
	@[ -z "$$CI" ] || sh tests/support/drivers.sh .programs

# Drivers for the samples of the producers' guide in Go, Java and Node, whichever toolchain is installed: into .programs.
drivers:
	@sh tests/support/drivers.sh .programs

chaos: $(READY)
	@$(BIN)/python -m tests.chaos $(ARGS)

lint: $(READY)
	$(AT_ONCE) "$(MAKE) -s style" "$(MAKE) -s types"

# The parts of lint and check, to be run at once on two cores.
style: $(READY)
	$(BIN)/ruff format --check relay tests bench examples helm client
	$(BIN)/ruff check relay tests bench examples helm client
	$(BIN)/lint-imports
	$(BIN)/mypy --python-version 3.10 client/outbox_client

types: $(READY)
	$(BIN)/mypy

unit: $(READY)
	$(BIN)/python -m pytest -q -n $(CORES) tests/unit $(ARGS)

# A statement with its shared parts, ready for psql: make sql QUERY=delivery/fetch
sql: $(READY)
	@$(BIN)/python -c 'import sys; from relay.postgres.tables import Tables; print(Tables().query(sys.argv[1]).decode())' $(QUERY)

docs: $(READY)
	$(BIN)/python -m relay.cli.reference > docs/reference/cli.md.new
	mv docs/reference/cli.md.new docs/reference/cli.md
	$(BIN)/python helm/reference.py

bench: $(READY)
	$(BIN)/python -m bench $(ARGS)

$(TOOLS)/.ready: requirements/tools.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

# Writes no address of any registry. What runs and what tests are locked to the same versions.
lock: $(TOOLS)/.ready
	$(COMPILE) --all-build-deps --extra demo --extra test --output-file requirements/constraints.txt
	$(COMPILE) --constraint requirements/constraints.txt --extra console --extra redis --output-file requirements/runtime.txt
	$(COMPILE) --constraint requirements/constraints.txt --only-build-deps --all-build-deps \
		--output-file requirements/build.txt
	$(COMPILE) --extra tools --output-file requirements/tools.txt

image: $(READY)
	$(ENGINE) tests/packaging/image/build.sh $(if $(PYTHON_IMAGE),--build-arg PYTHON_IMAGE=$(PYTHON_IMAGE)) \
		--build-arg VERSION=$$($(BIN)/relay version) --build-arg REVISION=$$(git rev-parse HEAD) \
		$(DOCKER_BUILD) --tag outbox-relay:dev

image-test: $(READY)
	$(ENGINE) $(BIN)/python -m pytest -m image tests/packaging/image $(ARGS)

# A base from Debian's packages, if no registry of images can be reached.
image-base: $(READY)
	$(ENGINE) tests/packaging/image/base.sh $(PYTHON_IMAGE)

# What the image runs with, as CycloneDX: read from an environment that holds the wheel and its locked dependencies.
sbom: $(READY) $(TOOLS)/.ready
	rm -rf dist/environment
	$(BIN)/python -m hatchling build -t wheel -d dist/environment
	$(PYTHON) -m venv dist/environment
	dist/environment/bin/python -m pip install --quiet --require-hashes -r requirements/runtime.txt
	dist/environment/bin/python -m pip install --quiet --no-deps --no-index dist/environment/*.whl
	dist/environment/bin/python -m pip uninstall --quiet --yes pip setuptools
	sed "s/^dynamic = .*/version = \"$$(dist/environment/bin/relay version)\"/" pyproject.toml > dist/environment/pyproject.toml
	$(TOOLS)/bin/cyclonedx-py environment dist/environment --pyproject dist/environment/pyproject.toml --output-reproducible \
		--of JSON -o dist/sbom.json
	rm -rf dist/environment

# Both packages, the chart and what the image holds, of one version; wheels and sdists are the same bytes for one commit.
# TAG=v1.2.3 refuses unless that is the version. Signs and uploads nothing; what is left to do is printed at the end.
release: export SOURCE_DATE_EPOCH := $(shell git log -1 --format=%ct)
release: $(READY) $(TOOLS)/.ready
	@test -z "$$(git status --porcelain)" || { echo "release: there are uncommitted changes"; exit 1; }
	@test -z "$(TAG)" || test "$(TAG)" = "v$$($(BIN)/relay version)" || \
		{ echo "release: $(TAG) is not the version, v$$($(BIN)/relay version)"; exit 1; }
	$(BIN)/python -m pytest -q tests/unit/packaging
	rm -rf dist/release
	$(BIN)/python -m hatchling build -d "$(CURDIR)/dist/release"
	cd client && "$(CURDIR)/$(BIN)/python" -m hatchling build -d "$(CURDIR)/dist/release"
	$(TOOLS)/bin/twine check --strict dist/release/*
	$(HELM) package helm/outbox-relay --destination dist/release
	$(MAKE) --no-print-directory sbom
	mv dist/sbom.json dist/release/outbox-relay-$$($(BIN)/relay version).cdx.json
	version=$$($(BIN)/relay version); git archive --format=tar.gz --prefix=outbox-relay-$$version/ \
		--output=dist/release/outbox-relay-$$version.source.tar.gz HEAD
	cd dist/release && sha256sum *-* > SHA256SUMS && cat SHA256SUMS
	@echo "Next: make release-image, tag the commit v$$($(BIN)/relay version), sign and upload dist/release."

# The image as an archive beside the rest, with its digest: `docker load` and `docker push` take it to any registry.
release-image: image
	mkdir -p dist/release
	$(ENGINE) sh -euc ' \
		version=$$($(BIN)/relay version); \
		$(DOCKER) tag outbox-relay:dev outbox-relay:$$version; \
		$(DOCKER) save --output dist/release/outbox-relay-$$version.image.tar outbox-relay:$$version; \
		$(DOCKER) image inspect --format "{{.Id}}" outbox-relay:dev > dist/release/outbox-relay-$$version.image.digest; \
		cat dist/release/outbox-relay-$$version.image.digest'
	cd dist/release && sha256sum *-* > SHA256SUMS

clean:
	rm -rf $(VENV) $(TOOLS) .programs dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache bench/results
