#!/usr/bin/env bash
# Writes Sources/CaregProto and Sources/caregctl/MessageDescriptors.swift from the .proto files. With --check it writes nothing and fails where the two disagree.
# Needs protoc (Debian: protobuf-compiler) and protoc-gen-swift of the swift-protobuf version that Package.swift names;
# the latter is built on first use, which takes about a minute.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
plugin=${PROTOC_GEN_SWIFT:-}
if [ -z "$plugin" ]; then
    (cd "$root" && swift package resolve >/dev/null)
    checkout="$root/.build/checkouts/swift-protobuf"
    scratch="$root/.build-protoc"
    plugin="$scratch/release/protoc-gen-swift"
    [ -x "$plugin" ] || swift build -c release --package-path "$checkout" --scratch-path "$scratch" --product protoc-gen-swift >&2
fi
out="$root/Sources/CaregProto"
descriptors="$root/Sources/caregctl/MessageDescriptors.swift"
if [ "${1:-}" = --check ]; then
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
    descriptors="$out/MessageDescriptors.swift"
fi
mkdir -p "$out"
(cd "$here" && protoc -I . --plugin=protoc-gen-swift="$plugin" --swift_out="$out" \
    --swift_opt=Visibility=Public --swift_opt=FileNaming=DropPath --swift_opt=UseAccessLevelOnImports=true \
    careg/v1/*.proto google/rpc/*.proto)
# The field names that caregctl's JSON needs, in the order of the .proto files.
{
    echo '// Written by proto/generate.sh from proto/careg/v1: change those files, not this one.'
    echo
    echo '/// The messages of careg.v1 as a google.protobuf.FileDescriptorSet.'
    echo 'enum MessageDescriptors {'
    echo '    static let base64 = """'
    (cd "$here" && protoc -I . --descriptor_set_out=/dev/stdout careg/v1/*.proto) | base64 -w 108 | sed 's/^/        /'
    echo '        """'
    echo '}'
} >"$descriptors"
if [ "${1:-}" = --check ]; then
    for file in "$out"/*.pb.swift; do
        cmp "$file" "$root/Sources/CaregProto/$(basename "$file")"
    done
    cmp "$descriptors" "$root/Sources/caregctl/MessageDescriptors.swift"
    echo "generated code is up to date"
fi
