# Short names for what people do with this project. The work is in scripts/ and in cargo.

.DEFAULT_GOAL := help
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
.PHONY: help tools build profiled demo serve test lint doc fmt docker-test soak bench bench-quick plots clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

tools: ## install what tests and the demo need besides Rust, below .tools/
	@scripts/tools.sh

build: ## build the release program, target/release/cc-gateway
	cargo build --release --locked

profiled: $(TARGET)/profiled/cc-gateway ## build the release program by a profile of itself at work, target/profiled/cc-gateway (takes three times as long)

$(TARGET)/profiled/cc-gateway: Cargo.toml Cargo.lock scripts/profiled.sh $(shell find src -name '*.rs')
	@scripts/tools.sh --profile
	@scripts/profiled.sh

demo: ## show it at work: start everything, ask one question, stop (LOGIN=1: with your Claude login)
	@scripts/demo.sh

serve: ## run a gateway until Ctrl-C and say what to type next (LOGIN=1: with your Claude login)
	@scripts/serve.sh

test: ## run every check: format, lints, documents, all tests
	@scripts/test.sh

lint: ## check the format and the lints
	cargo fmt --all --check
	cargo clippy --all-targets --all-features --locked -- -D warnings

doc: ## build the documents of the code
	RUSTDOCFLAGS=-Dwarnings cargo doc --lib --no-deps --all-features --document-private-items --locked

fmt: ## format the code
	cargo fmt --all

docker-test: ## check the container's files, build the image and prove it on a Docker engine (DOCKER_BUILD_FLAGS: more flags for docker build)
	@scripts/tools.sh --docker
	@docker/test/lint.sh
	@docker/test/run.sh

soak: ## run all tests with the full counts of their rows (long)
	@scripts/tools.sh --tests
	SOAK=1 cargo nextest run --all-features --locked --profile soak --no-fail-fast

bench: profiled ## run the benchmarks (10 minutes; what they need is built first, for twice as long)
	cargo bench --features test-support --locked --bench micro
	cargo bench --features test-support --locked --bench instructions
	cargo bench --features test-support --locked --bench end_to_end -- \
		--gateway "$(TARGET)/profiled/cc-gateway" --json "$(TARGET)/end_to_end.json"

bench-quick: ## a quick look at what the benchmarks do: nothing may be lost, and the figures mean little
	cargo bench --features test-support --locked --bench micro -- --quick
	cargo bench --features test-support --locked --bench end_to_end -- --quick

plots: profiled ## measure how costs grow, and draw it (docs/growth-*.svg)
	cargo bench --features test-support --locked --bench end_to_end -- \
		--gateway "$(TARGET)/profiled/cc-gateway" --growth --json "$(TARGET)/growth.json"
	scripts/plots.py "$(TARGET)/growth.json" docs

clean: ## remove what was built; .tools stays
	cargo clean
