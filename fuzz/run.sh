#!/usr/bin/env bash
# Fuzzes targets, one after the other, and records executions and coverage in README.md. Not part of .ci/run: a full round takes hours.
#
#   fuzz/run.sh                        all targets: at least RUNS executions and SECONDS_MIN seconds of CPU each
#   fuzz/run.sh import_weka detect     these
#   RUNS=100000 SECONDS_MIN=10 fuzz/run.sh     a short round
#   WALL_MAX=60 fuzz/run.sh            no more than about a minute each, whatever was reached
#
# Needs cargo-fuzz (`cargo install cargo-fuzz`). The stable compiler is told to accept the flags of the fuzzer, so no nightly one is needed.
# A finding ends the script with its file in fuzz/artifacts; move it to fuzz/regressions/ as TARGET.what-it-shows with the fix.
set -euo pipefail
cd "$(dirname "$0")"
export RUSTC_BOOTSTRAP=1 RUST_BACKTRACE=0
runs=${RUNS:-1000000}
seconds=${SECONDS_MIN:-300}
wall=${WALL_MAX:-86400}
chunk=$((wall < 60 ? wall : 60))
fixtures=../traces/tests/fixtures

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(ls fuzz_targets | sed 's/\.rs$//')

# Inputs to begin with, and their words as a dictionary.
seed() {
    local target=$1 corpus=corpus/$1 format inputs
    mkdir -p "$corpus" artifacts
    case $target in
        import_*)
            format=${target#import_}
            inputs=("$fixtures/${format//_/-}".*)
            ;;
        detect) inputs=("$fixtures"/*) ;;
        read_trace) inputs=(seeds/*.trace.jsonl) ;;
        run_spec) inputs=(seeds/*.toml seeds/*.spec ../sim/results/src/spec/template.toml) ;;
    esac
    mapfile -t -O "${#inputs[@]}" inputs < <(find regressions -name "$target.*" 2>/dev/null)
    cp "${inputs[@]}" "$corpus/"
    # awk reads to the end, where `head` would break the pipe.
    grep -aohE '"[A-Za-z_.]+"|[a-z_]{4,}' "${inputs[@]}" | tr -d '"' | sort -u |
        awk 'NR <= 400 { print "\"" $0 "\"" }' >"artifacts/$target.dict"
}

# One round: until there are enough executions and CPU seconds, or the wall clock says stop.
round() {
    local target=$1 log=artifacts/$1.log binary count=0 cpu=0 part begin=$SECONDS
    cargo fuzz build -s none "$target"
    binary=${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-gnu/release/$target
    : >"$log"
    while [ "$count" -lt "$runs" ] || [ "${cpu%.*}" -lt "$seconds" ]; do
        [ $((SECONDS - begin)) -lt "$wall" ] || break
        part=$(TIMEFORMAT=%U; { time "$binary" -max_total_time="$chunk" -max_len=8192 -timeout=20 -rss_limit_mb=3000 \
            -print_final_stats=1 -dict="artifacts/$target.dict" -artifact_prefix="artifacts/$target-" \
            "corpus/$target" >>"$log" 2>&1; } 2>&1) || { tail -30 "$log"; exit 1; }
        cpu=$(awk "BEGIN { print $cpu + $part }")
        count=$(awk '/stat::number_of_executed_units/ { sum += $2 } END { print sum }' "$log")
    done
    record "$target" "$count" "${cpu%.*}" "$log"
}

# Replaces the target's row in README.md.
record() {
    local target=$1 count=$2 took=$3 log=$4 cov features files
    cov=$(grep -oE ' cov: [0-9]+' "$log" | tail -1 | grep -oE '[0-9]+')
    features=$(grep -oE ' ft: [0-9]+' "$log" | tail -1 | grep -oE '[0-9]+')
    files=$(find "corpus/$target" -type f | wc -l)
    sed -i "/^| $target |/d" README.md
    echo "| $target | $count | $took | $cov | $features | $files | $(date -u +%F) |" >>README.md
    tail -1 README.md
}

for target in "${targets[@]}"; do
    seed "$target"
    round "$target"
done
