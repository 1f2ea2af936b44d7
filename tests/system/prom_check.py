"""Is this the text exposition format 0.0.4? Reads standard input, as promtool check metrics does; says what is wrong."""
import re
import sys

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(r"^(%s)(\{(.*)\})? ([^ ]+)$" % NAME)
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(,|$)')
TYPES = {"counter", "gauge", "histogram", "summary", "untyped"}


def labels(text):
    """The labels as a dict, or None."""
    out, at = {}, 0
    while at < len(text):
        m = LABEL.match(text, at)
        if not m or m.group(1) in out:
            return None
        out[m.group(1)] = m.group(2)
        at = m.end()
    return out


def family(name, types):
    for suffix in ("_bucket", "_sum", "_count"):
        base = name[: -len(suffix)] if name.endswith(suffix) else None
        if base and types.get(base) in ("histogram", "summary"):
            return base
    return name


def main():
    text = sys.stdin.read()
    wrong, types, helps, seen, closed, current = [], {}, {}, set(), set(), None
    buckets, counts = {}, {}
    if not text.endswith("\n"):
        wrong.append("no newline at the end")
    for nr, line in enumerate(text.split("\n")[:-1], 1):
        def bad(what):
            wrong.append("line %d: %s: %s" % (nr, what, line))
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            if name in helps:
                bad("second HELP")
            helps[name] = True
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            if name in types:
                bad("second TYPE")
            if kind not in TYPES:
                bad("unknown type")
            if kind == "counter" and not name.endswith("_total"):
                bad("a counter's name ends with _total")
            types[name] = kind
            continue
        if not line or line.startswith("#"):
            bad("neither a sample nor HELP nor TYPE")
            continue
        m = SAMPLE.match(line)
        got = labels(m.group(3) or "") if m else None
        if got is None:
            bad("not a sample")
            continue
        try:
            value = float(m.group(4))
        except ValueError:
            bad("not a number")
            continue
        base = family(m.group(1), types)
        if base not in types or base not in helps:
            bad("no TYPE and HELP before it")
        if base in closed and base != current:
            bad("samples of a family are not together")
        if current and current != base:
            closed.add(current)
        current = base
        key = (m.group(1), tuple(sorted(got.items())))
        if key in seen:
            bad("sample is there twice")
        seen.add(key)
        if types.get(base) == "counter" and value < 0:
            bad("a counter below 0")
        if m.group(1) == base + "_bucket":
            buckets.setdefault(base, []).append((float(got["le"]), value))
        if m.group(1) == base + "_count" and types.get(base) == "histogram":
            counts[base] = value
    for base, rows in buckets.items():
        if rows != sorted(rows) or any(a[1] > b[1] for a, b in zip(rows, rows[1:])):
            wrong.append("%s: buckets do not grow" % base)
        if rows[-1][0] != float("inf") or rows[-1][1] != counts.get(base):
            wrong.append("%s: the last bucket is not +Inf with the count" % base)
    print("\n".join(wrong) if wrong else "%d samples of %d families" % (len(seen), len(types)))
    return 1 if wrong or not seen else 0


sys.exit(main())
