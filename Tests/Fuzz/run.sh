#!/usr/bin/env bash
# Builds the fuzzers, with the address sanitizer, and runs each of them for SECONDS. What they find is kept in
# .build-fuzz/NAME/: inputs that crash, hang or eat memory as crash-*, timeout-*, oom-*, the grown corpus in corpus/.
#
#   Tests/Fuzz/run.sh                    each for a minute
#   Tests/Fuzz/run.sh 600                each for ten minutes
#   Tests/Fuzz/run.sh 600 FuzzPath       this one
#   Tests/Fuzz/run.sh seeds              writes Corpora/ anew, from TestPKI
#
# To repeat a finding: SWIFT_BACKTRACE=enable=no .build-fuzz/release/NAME FILE
set -euo pipefail
cd "$(dirname "$0")/../.."
seeds=Tests/Fuzz/Corpora
work=.build-fuzz
swift build --package-path Tests/Fuzz --scratch-path "$work" -c release
if [ "${1:-}" = seeds ]; then
    exec "$work/release/Seeds" "$seeds"
fi

# Bytes of the longest input, and seconds that one may take: a certificate has 64 KiB at the most, a path is a program of
# one byte here and there for each certificate. The sanitizer makes everything some ten times slower.
declare -A limits=(
    [FuzzCertificate]="65536 2" [FuzzNameConstraints]="2048 2" [FuzzPath]="2048 10" [FuzzPEM]="8192 2"
    [FuzzSerialNumber]="512 2" [FuzzConnection]="2048 2" [FuzzEnvelope]="4096 2" [FuzzVerifyRequest]="4096 2"
    [FuzzRecord]="4096 2"
)
seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(printf '%s\n' "${!limits[@]}" | sort)

# Swift allocates much: a long memory of where would take most of the time.
options=quarantine_size_mb=16:malloc_context_size=2:detect_leaks=0
failures=0
for target in "${targets[@]}"; do
    read -r length timeout <<<"${limits[$target]:?there is no such fuzzer}"
    # A short run is made beside others, on a machine that may be busy.
    [ "$seconds" -ge 60 ] || timeout=$((timeout * 5))
    mkdir -p "$work/$target/corpus"
    echo "fuzzing $target"
    # Swift's own backtracer would swallow the crash that libFuzzer is to keep.
    SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=$options "$work/release/$target" \
        -max_total_time="$seconds" -max_len="$length" -timeout="$timeout" -rss_limit_mb=1024 -detect_leaks=0 \
        -print_final_stats=1 -artifact_prefix="$work/$target/" "$work/$target/corpus" "$seeds/$target" \
        >"$work/$target/log" 2>&1 || {
        failures=$((failures + 1))
        echo "  failed: see $work/$target/"
        grep -m 1 'INFO: Seed' "$work/$target/log" || true
        tail -n 20 "$work/$target/log"
    }
    grep -E '^stat::(number_of_executed_units|average_exec_per_sec|slowest_unit_time_sec|peak_rss_mb)' \
        "$work/$target/log" | sed 's/^stat::/  /' || true
done
[ $failures -eq 0 ]
