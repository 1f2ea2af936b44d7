#!/usr/bin/env python3
"""Archives for test_images.sh: good ones, as docker, podman and skopeo write them, and hostile ones.

archives.py FOLDER makes all of them. What each hostile one must be refused with is in hostile.txt there:
"file<TAB>pattern of the error".
"""
import gzip
import hashlib
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile

out = sys.argv[1]


def sha(b):
    return hashlib.sha256(b).hexdigest()


def member(name, data=b"", type=tarfile.REGTYPE, mode=0o644, **more):
    t = tarfile.TarInfo(name)
    t.type, t.mode, t.size, t.mtime = type, mode, len(data), 1700000000
    for k, v in more.items():
        setattr(t, k, v)
    return t, data


def folder(name, **more):
    return member(name, type=tarfile.DIRTYPE, mode=0o755, **more)


def tar(*members, format=tarfile.PAX_FORMAT, end=True):
    f = io.BytesIO()
    t = tarfile.open(fileobj=f, mode="w", format=format)
    for info, data in members:
        t.addfile(info, io.BytesIO(data))
    if end:
        t.close()
    return f.getvalue()


def save(name, data):
    with open(os.path.join(out, name), "wb") as f:
        f.write(data)


def zstd(data):
    return subprocess.run(["zstd", "-q"], input=data, stdout=subprocess.PIPE, check=True).stdout


# ---- a root file system, in all ways of packing it ----
root = tar(
    folder("./"), folder("bin"), folder("etc"),
    member("bin/sh", b"#!" * 5000, mode=0o4755, uid=1, gid=2, mtime=1700000000.25),
    member("etc/passwd", b"root:x:0:0:r:/:/bin/sh\nweb:x:33:44:w:/:/bin/sh\n"),
    member("etc/link", type=tarfile.SYMTYPE, linkname="../bin/sh"),
    member("etc/hard", type=tarfile.LNKTYPE, linkname="bin/sh"),
    member("etc/xattr", b"x", pax_headers={"SCHILY.xattr.user.colour": "green", "SCHILY.xattr.com.apple.x": "1"}),
    member("etc/acl", b"x", pax_headers={"SCHILY.acl.access": "user::rw-,user:33:r--,group::r--,mask::r--,other::---"}),
    member("etc/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    member("etc/fifo", type=tarfile.FIFOTYPE),
    member("etc/" + "n" * 200, b"long"), member("etc/\u00fcml\u00e4ut", b"utf"))
save("root.tar", root)
save("root.tar.gz", gzip.compress(root))
save("root.tar.xz", lzma.compress(root))
save("root.tar.zst", zstd(root))
save("root.gnu.tar", tar(member("a" * 150 + "/" + "b" * 150, b"x"), format=tarfile.GNU_FORMAT))
# Looks like a container's archive until its end, and is none; and until its last member.
save("blobs.tar", tar(folder("blobs"), member("blobs/x", b"1"), member("notes.json", b"{}")))
save("late.tar", tar(member("index.json", b"not json"), member("etc/x", b"1")))

# ---- layers ----
base = tar(folder("etc"), member("etc/passwd", b"root:x:0:0:r:/:/bin/sh\nweb:x:33:44:w:/:/bin/sh\n"),
           member("etc/group", b"root:x:0:\nstaff:x:55:web\n"), member("etc/gone", b"gone"), folder("opq"), member("opq/old", b"old"),
           folder("dir"), member("dir/a", b"a"), member("dir/sub/b", b"b"), member("file", b"first" * 1000),
           member("hard1", b"hard"), member("hard2", type=tarfile.LNKTYPE, linkname="hard1"), member("turns", b"file"),
           folder("was"), member("was/dir", b"x"))
upper = tar(member("opq/new", b"new"), member("opq/.wh..wh..opq"), member("etc/.wh.gone"), member(".wh.dir"), member("file", b"second"),
            member(".wh.hard1"), folder("turns"), member("turns/dir", b"now"), member("was", b"now a file"),
            member("etc/.wh.never"), member("link", type=tarfile.SYMTYPE, linkname="file"))
# dir comes back, with something else in it
third = tar(folder("dir", uid=7), member("dir/c", b"c"))
layers = [base, upper, third]
config = {"architecture": "riscv64", "os": "linux", "config": {
    "Entrypoint": ["/bin/app", "--flag"], "Cmd": ["x y", "it's"], "Env": ["PATH=/bin", "A=b c"], "WorkingDir": "/work",
    "User": "web:staff", "Labels": {"who": "test"}}}


def image(layers, change=lambda c: None):
    """config bytes of an image of these layers (uncompressed)"""
    c = json.loads(json.dumps(config))
    c["rootfs"] = {"type": "layers", "diff_ids": ["sha256:" + sha(l) for l in layers]}
    change(c)
    return json.dumps(c).encode()


def blob(b):
    return member("blobs/sha256/" + sha(b), b)


def desc(b, **more):
    return dict({"mediaType": "application/octet-stream", "digest": "sha256:" + sha(b), "size": len(b)}, **more)


def oci(images, pack=gzip.compress, platforms=None, nested=False, first=False):
    """images: {reference: (layers, config bytes)} -> members of an OCI layout, in a random-looking order"""
    blobs, index, layer = [], [], "application/vnd.oci.image.layer.v1.tar"
    for n, (ref, (ls, conf)) in enumerate(images.items()):
        packed = [pack(l) for l in ls]
        manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                               "config": desc(conf, mediaType="application/vnd.oci.image.config.v1+json"),
                               "layers": [desc(p, mediaType=layer + {gzip.compress: "+gzip", zstd: "+zstd"}.get(pack, ""))
                                          for p in packed]}).encode()
        blobs += [blob(p) for p in packed] + [blob(conf), blob(manifest)]
        d = desc(manifest, mediaType="application/vnd.oci.image.manifest.v1+json")
        if platforms:
            d["platform"] = {"os": "linux", "architecture": platforms[n]}
        elif ref:
            d["annotations"] = {"org.opencontainers.image.ref.name": ref}
        index.append(d)
    if nested:
        index.append(dict(desc(b"attest"), platform={"os": "unknown", "architecture": "unknown"}))
        inner = json.dumps({"schemaVersion": 2, "manifests": index}).encode()
        blobs.append(blob(inner))
        index = [desc(inner, mediaType="application/vnd.oci.image.index.v1+json",
                      annotations={"org.opencontainers.image.ref.name": "latest"})]
    seen, unique = set(), []
    for b in blobs:
        if b[0].name not in seen:
            unique.append(b)
        seen.add(b[0].name)
    head = [member("index.json", json.dumps({"schemaVersion": 2, "manifests": index}).encode()),
            member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')]
    dirs = [folder("blobs/"), folder("blobs/sha256/")]
    return head + dirs + unique if first else dirs + unique[::-1] + head


one = image(layers)
save("oci.tar", tar(*oci({"latest": (layers, one)})))
save("oci-first.tar", tar(*oci({"latest": (layers, one)}, first=True)))
save("oci-zstd.tar", tar(*oci({"": (layers, one)}, pack=zstd)))
save("oci.tar.gz", gzip.compress(tar(*oci({"latest": (layers, one)}))))
other = image([base], lambda c: c.update(architecture="amd64"))
save("oci-two.tar", tar(*oci({"app:1": (layers, one), "app:2": ([base], other)})))
save("oci-arch.tar", tar(*oci({"a": ([base], other), "b": (layers, one)}, platforms=["amd64", "riscv64"], nested=True)))
save("oci-foreign.tar", tar(*oci({"a": ([base], other), "b": ([upper], other)}, platforms=["amd64", "arm64"])))


# as umoci writes layers: the last block is cut off
short = tar(member("etc/x", b"short"), end=False)[:1536 - 500]
save("oci-short.tar", tar(*oci({"x": ([base, short], image([base, short]))})))


def docker_old(tag):
    """docker save before 25: ID/layer.tar, one of them a symbolic link"""
    ids = [sha(b"%d" % n + l) for n, l in enumerate(layers)]
    m, paths = [], []
    for i, l in zip(ids, layers):
        m += [folder(i + "/"), member(i + "/VERSION", b"1.0"), member(i + "/json", b"{}"), member(i + "/layer.tar", l)]
        paths.append(i + "/layer.tar")
    twin = sha(b"twin")
    m += [folder(twin + "/"), member(twin + "/layer.tar", type=tarfile.SYMTYPE, linkname="../" + ids[0] + "/layer.tar")]
    paths[0] = twin + "/layer.tar"
    c = sha(one) + ".json"
    return m + [member(c, one), member("manifest.json", json.dumps([{"Config": c, "RepoTags": [tag], "Layers": paths}]).encode()),
                member("repositories", b"{}")]


save("docker-old.tar", tar(*docker_old("app:1")))
save("docker-new.tar", tar(*(oci({"1": (layers, one)}, pack=bytes) + [
    member("manifest.json", json.dumps([{"Config": "blobs/sha256/" + sha(one), "RepoTags": ["app:1", "app:x"],
                                         "Layers": ["blobs/sha256/" + sha(l) for l in layers]}]).encode())])))
# podman save: layers as DIGEST.tar; two images in one archive
save("podman.tar", tar(*([member(sha(l) + ".tar", l) for l in layers] + [
    member(sha(one) + ".json", one), member(sha(other) + ".json", other),
    member("manifest.json", json.dumps([
        {"Config": sha(one) + ".json", "RepoTags": ["localhost/app:1"], "Layers": [sha(l) + ".tar" for l in layers]},
        {"Config": sha(other) + ".json", "RepoTags": ["docker.io/library/base:latest"], "Layers": [sha(base) + ".tar"]}]).encode())])))
for user, name in (("1000", "user-number"), ("33", "user-known"), ("web", "user-name"), ("1:2", "user-pair"), ("web:55", "user-mixed")):
    c = image([base], lambda c: c["config"].update(User=user))
    save(name + ".tar", tar(*oci({"x": ([base], c)})))

# ---- hostile ----
hostile = []


def bad(name, data, pattern):
    save(name, data)
    hostile.append((name, pattern))


ok = member("ok", b"ok")
bad("empty.tar", b"", "*is empty*")
bad("text.tar", b"hello, this is no archive at all\n" * 100, "*not a tar archive*")
bad("half.tar", root[:6000], "*damaged archive*bin/sh*")
bad("no-end.tar", tar(folder("a"), ok, end=False), "*ends early*ok*")
bad("half.tar.gz", gzip.compress(root)[:100], "*")
bad("half.tar.xz", lzma.compress(root)[:100], "*")
bad("half.tar.zst", zstd(os.urandom(1000) + root)[:900], "*")
bad("up.tar", tar(ok, member("../evil", b"x")), "*../evil*leads out*")
bad("up2.tar", tar(ok, member("a/../../evil", b"x")), "*a/../../evil*leads out*")
bad("absolute.tar", tar(ok, member("/etc/evil", b"x")), "*/etc/evil*absolute*")
bad("link-up.tar", tar(ok, member("evil", type=tarfile.LNKTYPE, linkname="../../etc/passwd")), "*evil*leads out*")
bad("link-none.tar", tar(ok, member("evil", type=tarfile.LNKTYPE, linkname="nosuch")), "*evil*not there*")
bad("below-link.tar", tar(member("l", type=tarfile.SYMTYPE, linkname="/tmp"), member("l/evil", b"x")), "*l/evil*not a directory*")
bad("below-file.tar", tar(ok, member("ok/evil", b"x")), "*ok/evil*not a directory*")
bad("twice.tar", tar(ok, member("ok", b"again")), "*ok*there already*")
bad("root-file.tar", tar(ok, member("./", b"x")), "*./*")
bad("deep.tar", tar(ok, member("d/" * 100 + "x", b"x")), "*levels deep*")
bad("long.tar", tar(ok, member("n" * 300, b"x")), "*255 bytes*")
bad("longer.tar", tar(ok, member("/".join(["n" * 200] * 30), b"x")), "*bytes*")
bad("device.tar", tar(ok, member("dev", type=tarfile.CHRTYPE, devmajor=5000, devminor=1)), "*dev*device number*")
bad("owner.tar", tar(ok, member("who", b"x", uid=2 ** 33)), "*who*out of range*")
bad("xattr.tar", tar(ok, member("x", b"x", pax_headers={"SCHILY.xattr.system.evil": "1"})), "*x*namespace*")
bad("xattrs.tar", tar(ok, member("x", b"x", pax_headers={"SCHILY.xattr.user.%d" % i: "1" for i in range(300)})), "*x*more than 256*")
bad("many-x.tar", tar(ok, member("x", b"x", pax_headers={"SCHILY.xattr.user.a": "1" * 40000, "SCHILY.xattr.user.b": "1" * 40000})),
    "*x*bytes of attributes*")
bad("acl.tar", tar(ok, member("x", b"x", pax_headers={"SCHILY.acl.access": "user::rw-,user:mallory:r--,group::r--,mask::r--,other::---"})),
    "*x*mallory*without a number*")
huge = tarfile.TarInfo("sparse")
huge.size = 2 ** 50
huge.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "bomb", "GNU.sparse.realsize": str(2 ** 50)}
spars = b"1\n%d\n0\n" % (2 ** 50)
huge.size = 512
f = io.BytesIO()
t = tarfile.open(fileobj=f, mode="w", format=tarfile.PAX_FORMAT)
t.addfile(ok[0], io.BytesIO(ok[1]))
t.addfile(huge, io.BytesIO(spars.ljust(512, b"\0")))
t.close()
bad("sparse-bomb.tar", f.getvalue(), "*bomb*")
big = member("zeros")[0]
big.size = 400 << 20


class Zeros(io.RawIOBase):
    def read(self, n=-1):
        return bytes(n)


def bomb(path, opener):
    with opener(os.path.join(out, path)) as f:
        t = tarfile.open(fileobj=f, mode="w|", format=tarfile.PAX_FORMAT)
        t.addfile(big, Zeros())
        t.close()


bomb("bomb.tar.gz", lambda p: gzip.open(p, "wb", compresslevel=1))
hostile.append(("bomb.tar.gz", "*compressed more than 200-fold*"))
inner = gzip.compress(gzip.compress(open(os.path.join(out, "bomb.tar.gz"), "rb").read()))
bad("bomb3.tar.gz", inner, "*compressed more than 200-fold*")


def bad_oci(name, pattern, ls=layers, conf=None, edit=None):
    conf = conf if conf is not None else image(ls)
    members = oci({"latest": (ls, conf)}, pack=bytes)
    bad(name, tar(*(edit(members) if edit else members)), pattern)


def swap(prefix, data):
    """the content of the first member whose name has prefix"""
    def f(members):
        done = False
        r = []
        for m, d in members:
            if not done and m.name.startswith(prefix) and m.isfile():
                m.size, d, done = len(data), data, True
            r.append((m, d))
        return r
    return f


bad_oci("oci-digest.tar", "*blobs/sha256/*damaged*", edit=swap("blobs/sha256/" + sha(base), base[:-1] + b"x"))
bad_oci("oci-size.tar", "*blobs/sha256/*", edit=swap("blobs/sha256/" + sha(one), one + b" "))
bad_oci("oci-missing.tar", "*is not in the archive*", edit=lambda m: [x for x in m if sha(upper) not in x[0].name])
bad_oci("oci-json.tar", "*index.json:1:*", edit=swap("index.json", b"{nonsense"))
bad_oci("oci-deep.tar", "*index.json*levels deep*", edit=swap("index.json", b"[" * 100000))
bad_oci("oci-large.tar", "*index.json*document*", edit=swap("index.json", b" " * (2 << 20)))
bad_oci("oci-type.tar", "*index.json*manifests*list*", edit=swap("index.json", b'{"manifests": {"a": 1}}'))
bad_oci("oci-none.tar", "*index.json*", edit=swap("index.json", b'{"manifests": [{"digest": "sha256:../../../etc/passwd"}]}'))
bad_oci("oci-nothing.tar", "*no image*", edit=swap("index.json", b'{"manifests": []}'))
bad_oci("oci-diff.tar", "*layer*damaged*", conf=image(layers, lambda c: c["rootfs"].update(diff_ids=["sha256:" + sha(b"no")] * 3)))
bad_oci("oci-count.tar", "*digests of 1 layers*", conf=image(layers, lambda c: c["rootfs"].update(diff_ids=["sha256:" + sha(base)])))
bad_oci("oci-config.tar", "*Entrypoint*", conf=image(layers, lambda c: c["config"].update(Entrypoint="sh -c evil")))
bad_oci("oci-env.tar", "*Env*", conf=image(layers, lambda c: c["config"].update(Env=["novalue"])))
bad_oci("oci-user.tar", "*mallory*passwd*", conf=image(layers, lambda c: c["config"].update(User="mallory")))
bad_oci("oci-group.tar", "*mallory*group*", conf=image(layers, lambda c: c["config"].update(User="web:mallory")))
bad_oci("oci-envs.tar", "*Env has 5000*", conf=image(layers, lambda c: c["config"].update(Env=["A=b"] * 5000)))
for n, (m, p) in {"up": (member("../evil", b"x"), "*../evil*"), "whup": (member("etc/.wh..."), "*hides nothing*"),
                  "wh": (member("etc/.wh."), "*hides nothing*"), "below": (member("link/evil", b"x"), "*link/evil*"),
                  "type": (member("d", type=tarfile.BLKTYPE, devmajor=9999), "*device number*")}.items():
    evil = tar(m)
    bad_oci("layer-%s.tar" % n, "*layer*" + p, ls=[base, upper, evil])
bad_oci("layer-twice.tar", "*file*twice*", ls=[tar(member("file", b"1"), member("file", b"2"))])
bad_oci("layer-text.tar", "*layer*not a tar*", ls=[b"no layer at all" * 100])
bad("layer-bomb.tar", tar(*oci({"x": ([open(os.path.join(out, "bomb.tar.gz"), "rb").read()], image([base]))}, pack=bytes)),
    "*layer*200-fold*")
bad("manifest-only.tar", tar(member("manifest.json", b'[{"Config":"../../etc/passwd","Layers":[]}]')), "*not in the archive*")
bad("manifest-null.tar", tar(member("manifest.json", b"null")), "*manifest.json*")
bad("manifest-loop.tar", tar(member("manifest.json", b'[{"Config":"a.json","Layers":[]}]'),
                             member("a.json", type=tarfile.SYMTYPE, linkname="a.json")), "*not in the archive*")
bad("oci-two-none.tar", open(os.path.join(out, "oci-two.tar"), "rb").read(), "*several images*app:1, app:2*")
bad("oci-arch-none.tar", open(os.path.join(out, "oci-foreign.tar"), "rb").read(), "*linux/riscv64*linux/amd64, linux/arm64*")

with open(os.path.join(out, "hostile.txt"), "w") as f:
    for name, pattern in hostile:
        f.write("%s\t%s\n" % (name, pattern))

# ---- seeds of fuzz_import: archives.py FOLDER CORPUS ----
if len(sys.argv) > 2:
    def seed(name, first, data):
        with open(os.path.join(sys.argv[2], name), "wb") as f:
            f.write(first + data)

    def cut(data):
        """without the padding of tar's last record"""
        return data.rstrip(b"\0") + bytes(1024 + -len(data.rstrip(b"\0")) % 512)

    def message(field, payload):
        def varint(n):
            return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)
        m = varint(field << 3 | 2) + varint(len(payload)) + payload
        return len(m).to_bytes(4, "little") + m

    seed("root", b"a", cut(root))
    seed("root-gz", b"a", gzip.compress(cut(root), mtime=0))
    seed("root-zst", b"a", zstd(cut(root)))
    seed("root-xz", b"a", lzma.compress(cut(root)))
    seed("gnu", b"a", cut(tar(member("a" * 150 + "/" + "b" * 150, b"x"), format=tarfile.GNU_FORMAT)))
    seed("sparse", b"a", cut(open(os.path.join(out, "sparse-bomb.tar"), "rb").read()))
    seed("late", b"a", cut(tar(member("index.json", b"{}"), member("etc/x", b"1"))))
    small = [cut(tar(member("etc/passwd", b"web:x:3:4::/:\n"), member("d/a", b"a"), member("h", type=tarfile.LNKTYPE, linkname="d/a"))),
             cut(tar(member("d/.wh..wh..opq"), member("d/b", b"b"), member(".wh.h"), member("l", type=tarfile.SYMTYPE, linkname="d")))]
    conf = {"architecture": "riscv64", "config": {"User": "web", "Env": ["A=b"], "Cmd": ["x"], "Labels": {"a": "b"}}}
    # No digest anywhere: what a mutation changes is not refused for that alone.
    seed("docker", b"r", cut(tar(
        member("a.json", json.dumps(conf).encode()), member("1.tar", small[0]), member("2.tar.gz", gzip.compress(small[1], mtime=0)),
        member("3.tar", type=tarfile.SYMTYPE, linkname="./1.tar"),
        member("manifest.json", json.dumps([{"Config": "a.json", "RepoTags": ["app:1"], "Layers": ["1.tar", "2.tar.gz", "3.tar"]},
                                            {"Config": "b.json", "RepoTags": ["app:2"], "Layers": []}]).encode()))))
    seed("oci", b"a", cut(tar(*oci({"a": ([small[0]], image([small[0]], lambda c: c["config"].update(User="3")))}, platforms=["riscv64"], nested=True))))
    entry = message(2, b"\x10\xed\x83\x02")  # the root
    entry += message(2, b"\x0a\x01f\x10\xa4\x83\x02\x38\x03") + message(3, b"abc")  # f, 0100644, 3 bytes
    entry += message(2, b"\x0a\x01g\x10\xa4\x83\x02\x5a\x01f")  # a hard link
    entry += message(2, b"\x0a\x01l\x10\xff\xc3\x02\x42\x01f")  # a symbolic link
    seed("entries", b"m", entry)
