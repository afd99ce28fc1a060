# make run      build and start one server on SQLite and a folder, in ./run
# make cluster  build and start three processes on a private PostgreSQL behind HAProxy; KEEP=folder keeps the data
# make check    before a commit: format, lints, tidy, unit tests
# make test     everything that CI runs
# make chaos    SECONDS=600: three servers under load while all kinds of faults happen, for so long, in the order of SEED=n (1);
#               PROFILE=recycle or reject: the same with a quota instead of the usual load;
#               without SECONDS: 20,000 stores on 8 connections while the server is killed 50 times, then three servers behind a
#               gateway, one after the other; TOPOLOGY=single or cluster for one of both, STORES, KILLS and SEED for other numbers
# make diff     the same requests to an Orthanc (REFERENCE='command {config}') and to Pleiad; its report is docs/diff.md
# make bench    a first impression of speed and memory

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
PYTHON := .venv/bin/python

.PHONY: run cluster check test chaos diff bench compiler cluster-tools test-tools

run: compiler
	$(CARGO) build --release --locked -p server
	@mkdir -p run
	@test -e run/pleiad.json || $(TARGET)/release/pleiad --config=run/pleiad.json
	exec $(TARGET)/release/pleiad $(or $(CONFIG),run/pleiad.json)

cluster: compiler cluster-tools
	$(CARGO) build --release --locked -p server
	PLEIAD=$(abspath $(TARGET)/release/pleiad) exec tests/cluster $(if $(KEEP),--keep $(KEEP))

check: compiler
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) test --locked --workspace --lib --bins
	$(CARGO) test --locked -p server --test it

# One profile (dev) for all of it, so that nothing is compiled twice. End-to-end tests mostly wait: two at a time.
test: compiler test-tools
	$(CARGO) fmt --all --check
	tests/with-postgres $(CARGO) test --locked --workspace
	$(CARGO) build --locked -p server
	$(PYTHON) tests/oracle/compare.py
	PLEIAD=$(abspath $(TARGET)/debug/pleiad) $(PYTHON) -m pytest -q -n 2 --dist loadfile tests/e2e

chaos: compiler test-tools
	$(CARGO) build --release --locked -p server
	CHAOS_SECONDS=$(SECONDS) CHAOS_STORES=$(or $(STORES),20000) CHAOS_KILLS=$(or $(KILLS),50) CHAOS_SEED=$(or $(SEED),1) CHAOS_PROFILE=$(or $(PROFILE),recycle) \
	  PLEIAD=$(abspath $(TARGET)/release/pleiad) $(PYTHON) -m pytest -q $(if $(SECONDS),tests/e2e/$(if $(PROFILE),chaos_quota,test_chaos_mixed).py,tests/e2e/test_chaos.py \
	  $(if $(TOPOLOGY),-k '$(if $(filter cluster,$(TOPOLOGY)),gateway,not gateway)'))

diff: compiler test-tools
	$(CARGO) build --locked -p server
	PLEIAD=$(abspath $(TARGET)/debug/pleiad) $(PYTHON) tests/diff/compare.py --reference '$(or $(REFERENCE),Orthanc {config})' --report docs/diff.md

bench: compiler test-tools
	$(CARGO) build --release --locked -p server
	PLEIAD=$(abspath $(TARGET)/release/pleiad) $(PYTHON) tests/bench.py

compiler:
	@tests/install cc:gcc

cluster-tools:
	@tests/install python3:python3 setpriv:util-linux postgresql haproxy

test-tools: cluster-tools
	@tests/install storescu:dcmtk pgbouncer libfaketime
	@python3 -c 'import ensurepip, venv' 2>/dev/null || tests/install python3-venv
	@tests/make-venv .venv tests/requirements.txt
