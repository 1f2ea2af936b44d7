#!/bin/bash
# import.sh [MIB]: how fast images are made, in MB/s of what goes in, through vmctl, vmd and vmd-import. BUILD: the build folder.
# Prints a table; the content is half random, half text, so that compression has something to do.
set -eu
BUILD=${BUILD:-$(dirname "$0")/../../build}
mib=${1:-256}
dir=$(mktemp -d)
export VMD_SOCKET=$dir/run/vmd.sock
trap 'kill "$daemon" 2>/dev/null; wait "$daemon" 2>/dev/null; rm -rf "$dir"' EXIT
"$BUILD/bin/vmd" --socket "$VMD_SOCKET" --state "$dir/state" 2>"$dir/log" &
daemon=$!
until "$BUILD/bin/vmctl" image ls >/dev/null 2>&1; do sleep 0.05; done

mkdir "$dir/tree" "$dir/small"
for i in $(seq 16); do
    head -c $((mib * 32768)) /dev/urandom
    seq -f "line %012.0f of some text that is much like the line before" 1 999999 | head -c $((mib * 32768))
done | split -b $((mib * 65536)) - "$dir/tree/part-"
for i in $(seq 20000); do echo "$i" >"$dir/small/file-$i"; done
tar -C "$dir/tree" -cf "$dir/t.tar" .
gzip -1 <"$dir/t.tar" >"$dir/t.tar.gz"
zstd -q <"$dir/t.tar" >"$dir/t.tar.zst"
xz -0 <"$dir/t.tar" >"$dir/t.tar.xz"
python3 - "$dir" <<'P'
import hashlib, io, json, sys, tarfile
d = sys.argv[1]
def digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for b in iter(lambda: f.read(1 << 20), b""):
            h.update(b)
    return h.hexdigest()
layer = digest(d + "/t.tar")
config = json.dumps({"architecture": "riscv64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:" + layer]}}).encode()
name = hashlib.sha256(config).hexdigest() + ".json"
with tarfile.open(d + "/docker.tar", "w") as t:
    def add(n, b):
        i = tarfile.TarInfo(n); i.size = len(b); t.addfile(i, io.BytesIO(b))
    t.add(d + "/t.tar", layer + ".tar")
    add(name, config)
    add("manifest.json", json.dumps([{"Config": name, "RepoTags": ["bench:1"], "Layers": [layer + ".tar"]}]).encode())
P

# row NAME AMOUNT UNIT COMMAND...: AMOUNT per second, in millions if the unit is MB.
row() {
    local name=$1 amount=$2 unit=$3 begin end
    shift 3
    begin=$(date +%s%N)
    "$@" >"$dir/last"
    end=$(date +%s%N)
    awk -v name="$name" -v n="$amount" -v unit="$unit" -v ns=$((end - begin)) 'BEGIN {
        printf "%-26s %9.0f %s/s %8.2f s\n", name, n / ns * (unit == "MB" ? 1000 : 1e9), unit, ns / 1e9 }'
}
vmctl() { "$BUILD/bin/vmctl" "$@"; }
bytes=$(stat -c %s "$dir/t.tar")
printf 'images of %d MiB (rates: uncompressed bytes)\n' "$mib"
row "import of a folder" "$bytes" MB vmctl image import "$dir/tree"
for f in t.tar t.tar.gz t.tar.zst t.tar.xz docker.tar; do
    row "import of $f" "$bytes" MB vmctl image import "$dir/$f"
done
image=$(cat "$dir/last")
row "export as tar" "$bytes" MB vmctl image export "$image" -o "$dir/out.tar"
row "20,000 small files" 20000 files vmctl image import "$dir/small"
printf 'vmd: %s KiB resident at most\n' "$(awk '/VmHWM/ {print $2}' "/proc/$daemon/status")"
