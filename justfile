# The commands of the house. `just` lists them; each is one plain cargo line, so `just` itself is never needed.

# List the recipes.
default:
    @just --list

# What the continuous check runs: format, lints, tests, documentation.
ci:
    .ci/run

# The fastest answer to "does it compile".
check:
    cargo check --workspace --all-targets

# Format everything.
fmt:
    cargo fmt --all

# Lints, as strict as the continuous check.
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# The default suite; pass a filter to run a part: `just test onnx`.
test filter="":
    cargo test --workspace {{filter}}

# The long tests too.
test-all:
    cargo test --workspace -- --include-ignored

# The library's documentation, in a browser.
doc:
    cargo doc --no-deps --workspace --open

# The main job on embedded data.
tour:
    cargo run --release -- tour

# Throughput and memory on this machine.
bench:
    cargo run --release -- bench classify

# The kernels by themselves, against the machine's measured peak: `just bench-kernels dcgan`.
bench-kernels filter="":
    cargo run --release -- bench kernels --filter "{{filter}}"

# Against PyTorch and ONNX Runtime, in turns (needs Python with both).
compare *options:
    cargo build --release
    python3 tools/bench/compare.py {{options}}

# Undefined behaviour in the kernels' portable code (needs a nightly toolchain with Miri).
miri *tests="scratch:: chains_count what_is_not_a_number":
    MIRIFLAGS="-Zmiri-tree-borrows -Zmiri-disable-isolation -Zmiri-permissive-provenance" cargo +nightly miri test -p opticus-kernels --lib -- {{tests}}

# The binary to ship: slower to build, a little faster to run.
dist:
    cargo build --profile dist

# Licences, advisories and sources of all dependencies (needs cargo-deny).
deny:
    cargo deny check

# Where the build time goes (target/cargo-timings/).
timings:
    cargo build --release --timings

# Fuzz one parser for a minute (needs cargo-fuzz and a nightly toolchain).
fuzz target:
    cargo +nightly fuzz run {{target}} -- -max_total_time=60
