#!/usr/bin/python3
"""grpc_client.py TARGET [CA CERT KEY] CHECK...: Debian's grpcio, unchanged, against a daemon; no generated code: bytes in, bytes out.

Each CHECK is a function below; prints what went wrong and exits with 1."""
import base64
import sys
import time

import grpc

GUESTS = "/vmd.v1.GuestService/"


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, value):
    """A string, bytes or non-negative integer field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def parse(data):
    """[(number, value)], values as integers or bytes."""
    out, at = [], 0

    def number():
        nonlocal at
        v = shift = 0
        while True:
            b = data[at]
            at += 1
            v |= (b & 127) << shift
            shift += 7
            if b < 128:
                return v

    while at < len(data):
        tag = number()
        if tag & 7 == 0:
            out.append((tag >> 3, number()))
        elif tag & 7 == 1:
            out.append((tag >> 3, data[at : at + 8]))
            at += 8
        elif tag & 7 == 5:
            out.append((tag >> 3, data[at : at + 4]))
            at += 4
        else:
            n = number()
            out.append((tag >> 3, data[at : at + n]))
            at += n
    return out


def first(data, number):
    return next((v for n, v in parse(data) if n == number), None)


def unary(channel, path, request=b"", **kw):
    return channel.unary_unary(path)(request, timeout=kw.pop("timeout", 10), **kw)


def code_of(call):
    try:
        call()
    except grpc.RpcError as e:
        return e
    raise AssertionError("the call did not fail")


def expect(what, got, wanted):
    assert got == wanted, f"{what}: {got!r}, expected {wanted!r}"


def unary_calls(channel):
    """Answers and canonical codes."""
    daemon = unary(channel, "/vmd.v1.DaemonService/GetDaemon")
    assert first(daemon, 1).startswith(b"0."), daemon
    e = code_of(lambda: unary(channel, GUESTS + "GetGuest", field(1, "nosuch")))
    expect("no such guest", e.code(), grpc.StatusCode.NOT_FOUND)
    assert "nosuch" in e.details(), e.details()
    e = code_of(lambda: unary(channel, GUESTS + "Nothing"))
    expect("no such method", e.code(), grpc.StatusCode.UNIMPLEMENTED)
    e = code_of(lambda: unary(channel, GUESTS + "GetGuest", b"\x0a\x7f\x01"))
    expect("garbage", e.code(), grpc.StatusCode.INVALID_ARGUMENT)
    e = code_of(lambda: unary(channel, GUESTS + "GetGuest", b"\x0a\x01\xff"))
    expect("not UTF-8", e.code(), grpc.StatusCode.INVALID_ARGUMENT)


def details(channel):
    """google.rpc.Status in grpc-status-details-bin."""
    e = code_of(lambda: unary(channel, "/grpc.health.v1.Health/Check", field(1, "nosuch")))
    status = dict(e.trailing_metadata())["grpc-status-details-bin"]
    expect("code", first(status, 1), 5)
    expect("message", first(status, 2).decode(), e.details())
    found = {first(v, 1).decode(): first(v, 2) for n, v in parse(status) if n == 3}
    info = found["type.googleapis.com/google.rpc.ErrorInfo"]
    expect("reason", first(info, 1), b"SERVICE_UNKNOWN")
    expect("domain", first(info, 2), b"vivarium")
    resource = found["type.googleapis.com/google.rpc.ResourceInfo"]
    expect("type", first(resource, 1), b"service")
    expect("name", first(resource, 2), b"nosuch")
    assert first(first(found["type.googleapis.com/google.rpc.Help"], 1), 1), "what to do"


def deadlines(channel):
    """A call that waits ends at its deadline, at the server too; a cancelled one ends at once."""
    began = time.monotonic()
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
    e = code_of(lambda: list(watch(b"", timeout=0.4)))
    expect("deadline", e.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
    assert 0.3 < time.monotonic() - began < 5
    call = watch(b"")
    expect("watch", first(next(call), 1), 1)
    call.cancel()
    e = code_of(lambda: next(call))
    expect("cancel", e.code(), grpc.StatusCode.CANCELLED)


def health(channel):
    expect("Check", first(unary(channel, "/grpc.health.v1.Health/Check"), 1), 1)
    one = unary(channel, "/grpc.health.v1.Health/Check", field(1, "vmd.v1.ImageService"))
    expect("Check of one", first(one, 1), 1)


def reflection(channel):
    """Every service's files, by both versions, make a pool that knows every message."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    for version in "v1", "v1alpha":
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        ask = lambda *requests: list(channel.stream_stream(path)(iter(requests), timeout=10))
        answer = ask(field(7, ""))[0]
        services = [first(v, 1).decode() for n, v in parse(first(answer, 6)) if n == 1]
        assert "vmd.v1.GuestService" in services, services
        pool = descriptor_pool.DescriptorPool()
        seen = {}
        for answer in ask(*[field(4, s) for s in services]):
            for n, v in parse(first(answer, 4)):
                file = descriptor_pb2.FileDescriptorProto.FromString(v)
                seen[file.name] = file
        added = set()

        def add(name):
            if name in added:
                return
            added.add(name)
            for dependency in seen[name].dependency:
                add(dependency)
            pool.Add(seen[name])

        for name in seen:
            add(name)
        methods = sum(len(pool.FindServiceByName(s).methods) for s in services)
        assert methods >= 20, methods
        wrong = ask(field(4, "vmd.v1.Nothing"), field(3, "nothing.proto"))
        expect("errors", [first(first(a, 7), 1) for a in wrong], [5, 5])


def many_at_once(channel):
    """More calls than one connection may have streams: they wait their turn, none fails."""
    call = channel.unary_unary("/vmd.v1.DaemonService/GetDaemon")
    futures = [call.future(b"", timeout=20) for _ in range(2000)]
    for f in futures:
        assert f.result()


def large(channel):
    """A message above the method's limit, and one beside gRPC's own."""
    e = code_of(lambda: unary(channel, GUESTS + "GetGuest", field(1, "x" * 100000)))
    expect("large", e.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
    expect("still there", first(unary(channel, "/grpc.health.v1.Health/Check"), 1), 1)


def crowd(channel):
    """20 connections of one tenant, no more (--limit); the next is told why, and there is room again when one leaves."""
    target = sys.argv[1]
    alone = [("grpc.use_local_subchannel_pool", 1)]
    some = [grpc.insecure_channel(target, alone) for _ in range(19)]
    unary(channel, "/grpc.health.v1.Health/Check")
    for c in some:
        unary(c, "/grpc.health.v1.Health/Check")
    more = grpc.insecure_channel(target, alone)
    e = code_of(lambda: unary(more, "/grpc.health.v1.Health/Check"))
    expect("one too many", e.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert "20 connections" in e.details(), e.details()
    for c in some[:5]:
        c.close()
    for _ in range(100):
        try:
            unary(more, "/grpc.health.v1.Health/Check")
            return
        except grpc.RpcError:
            time.sleep(0.05)
    raise AssertionError("there was no room again")


def drain(channel):
    """Health turns to NOT_SERVING when the daemon is told to end; prints READY when it may be told."""
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
    expect("before", first(next(watch), 1), 1)
    print("READY", flush=True)
    expect("after", first(next(watch), 1), 2)


def unauthenticated(channel):
    """A stranger is told that it is one."""
    e = code_of(lambda: unary(channel, "/vmd.v1.DaemonService/GetDaemon"))
    expect("stranger", e.code(), grpc.StatusCode.UNAUTHENTICATED)
    assert "tenant" in e.details(), e.details()


def refused(channel):
    """No connection comes about."""
    e = code_of(lambda: unary(channel, "/vmd.v1.DaemonService/GetDaemon", timeout=5))
    expect("refused", e.code(), grpc.StatusCode.UNAVAILABLE)


def main():
    args = sys.argv[1:]
    target = args.pop(0)
    options = [("grpc.max_receive_message_length", 64 << 20)]
    if target.startswith("unix:"):
        channel = grpc.insecure_channel(target, options)
    else:
        ca, cert, key = (open(p, "rb").read() if p != "-" else None for p in args[:3])
        args = args[3:]
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(ca, key, cert), options)
    for name in args:
        try:
            globals()[name](channel)
        except Exception as e:  # noqa: the test says what it was, and that is all
            print(f"{name}: {type(e).__name__}: {e}")
            return 1
    channel.close()
    return 0


sys.exit(main())
