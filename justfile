# Every job by name. `./dev JOB` runs one on a machine that has no just yet.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

target := env("CARGO_TARGET_DIR", "target")

# What cargo-installed tools are pinned to.
deny_version := "0.20.2"
fuzz_version := "0.13.2"
insta_version := "1.49.0"

# List the jobs.
default:
    @{{ just_executable() }} --list --unsorted

# The main job: run every scenario. Arguments go to `harness run`.
e2e *ARGS: build
    {{ target }}/debug/harness run "$@"

# All tests that need nothing but the toolchain.
test *ARGS:
    cargo test --workspace --locked --no-fail-fast "$@"

# Build the programs.
build:
    cargo build --workspace --bins --locked

# Formatting, lints, licences and sources of dependencies, generated files, the lock file of the fuzz targets.
check: _cargo-deny build
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    {{ target }}/tools/bin/cargo-deny --locked check bans licenses sources
    cargo metadata --manifest-path fuzz/Cargo.toml --locked --format-version 1 --filter-platform "$(rustc -vV | sed -n "s/^host: //p")" > {{ target }}/fuzz-metadata.json
    cargo test --quiet --package e2e --test it --locked generated

# Write anew what the docs take from the code.
generate: build
    Z4J_GENERATE=1 cargo test --package e2e --test it --locked generated

# Our programs against the published Python packages.
interop *ARGS: build _interop-venv
    cargo test --package e2e --test interop --locked "$@"

# The dashboard in a real Chromium. Pictures are kept in target/browser.
browser *ARGS: build _chromium
    cargo test --package e2e --test browser --locked "$@"

# Kill agent and brain at random, cut connections, fill disks, for many rounds: `chaos [ROUNDS] [SEED]`.
chaos ROUNDS="200" SEED="20261124": build
    Z4J_CHAOS_ROUNDS="{{ ROUNDS }}" Z4J_CHAOS_SEED="{{ SEED }}" cargo test --package e2e --test it --locked -- --ignored --nocapture chaos::

# Measure what this project promises, in release builds: `bench`, or one of `bench bounds`, `bench agent`, `bench brain`.
bench *NAMES: _interop-venv
    cargo build --workspace --bins --locked --release
    for name in ${@:-bounds agent brain}; do cargo bench --package e2e --bench "$name" --locked; done

# Fuzz all targets, or one: `fuzz [TARGET] [SECONDS]`, ten minutes each by default. Finds lie in fuzz/artifacts.
fuzz TARGET="all" SECONDS="600": (_cargo-install "cargo-fuzz" fuzz_version)
    #!/usr/bin/env bash
    set -euo pipefail
    fuzz() {
        # No sanitizer: the toolchain is stable, and no crate here has unsafe code.
        '{{ target }}/tools/bin/cargo-fuzz' "$1" --sanitizer none --target-dir '{{ target }}/fuzz' "${@:2}"
    }
    targets='{{ TARGET }}'
    if [ "$targets" = all ]; then targets=$('{{ target }}/tools/bin/cargo-fuzz' list); fi
    for name in $targets; do
        printf '\n== %s, {{ SECONDS }} seconds ==\n' "$name"
        # What is new is kept apart from the seeds, which stay few and small.
        mkdir -p '{{ target }}/fuzz/corpus'/"$name"
        fuzz run "$name" '{{ target }}/fuzz/corpus'/"$name" fuzz/corpus/"$name" -- \
            -max_total_time='{{ SECONDS }}' -max_len=4095 -rss_limit_mb=512 -timeout=25 -print_final_stats=1
    done

# What CI runs, in its order.
ci: test check e2e interop browser

# A mock brain for local development.
serve *ARGS:
    cargo run --package mock-brain --locked -- serve "$@"

# Look at snapshots that differ, and accept or reject them.
review: (_cargo-install "cargo-insta" insta_version)
    {{ target }}/tools/bin/cargo-insta review

_cargo-deny: (_cargo-install "cargo-deny" deny_version)

# Install a cargo tool once.
_cargo-install NAME VERSION:
    #!/usr/bin/env bash
    set -euo pipefail
    if [ "$('{{ target }}/tools/bin/{{ NAME }}' --version 2>/dev/null | awk '{ print $2 }')" != "{{ VERSION }}" ]; then
        echo 'installing {{ NAME }} {{ VERSION }} (once, takes a minute or two)' >&2
        cargo install --quiet --locked --root '{{ target }}/tools' '{{ NAME }}@{{ VERSION }}'
    fi

# Install Chromium and its driver where they are missing: as root, or by sudo.
_chromium:
    #!/usr/bin/env bash
    set -euo pipefail
    if [ ! -x /usr/bin/chromium ] || [ ! -x /usr/bin/chromedriver ]; then
        command -v apt-get >/dev/null || { echo 'dev: install chromium and chromedriver to /usr/bin' >&2; exit 2; }
        echo 'installing chromium and chromium-driver (once)' >&2
        as_root=$([ "$(id -u)" -eq 0 ] || echo sudo)
        $as_root apt-get update -qq
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
            chromium chromium-driver fonts-dejavu-core >/dev/null
    fi

# Install the Python packages that we are tested against, once: one environment for each file of requirements.
_interop-venv:
    #!/usr/bin/env bash
    set -euo pipefail
    for requirements in tests/interop/requirements/*.txt; do
        release=$(basename "$requirements" .txt)
        venv="{{ target }}/interop/$release"
        if ! cmp --silent "$requirements" "$venv/requirements.txt"; then
            printf 'installing the published Python packages of %s (once)\n' "$release" >&2
            rm -rf "$venv"
            python3 -m venv "$venv"
            "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"
            cp "$requirements" "$venv/requirements.txt"
        fi
    done
