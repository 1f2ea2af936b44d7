#!/usr/bin/env python3
"""crash.py BUILD IMAGE_DIR [WORKERS [DAEMONS [SEED]]] - kill -9 of WORKERS (300) random workers and of vmd, DAEMONS (100) times, under load.

Three clients create, run, rename, remove guests and tag images through vmctl, and write down what was acknowledged; what was
not, they ask for again (--request-id) until it is. After every death of vmd, and at the end, all of that must be there:
  guests    each acknowledged one, under its name, once; none that was removed or renamed
  state     RUNNING where the worker lives, ended with a reason where it was killed
  images    each acknowledged tag
  leftovers at the end, with everything removed: no console, no worker process but the one that stands by
Prints what was done; exits with 1 at the first thing that is missing, and says what.
"""
import json, os, random, re, shutil, signal, subprocess, sys, tempfile, threading, time

build, image_dir = os.path.realpath(sys.argv[1]), sys.argv[2]
want_workers = int(sys.argv[3]) if len(sys.argv) > 3 else 300
want_daemons = int(sys.argv[4]) if len(sys.argv) > 4 else 100
seed = int(sys.argv[5]) if len(sys.argv) > 5 else int(time.time())
random.seed(seed)
home = tempfile.mkdtemp()
env = dict(os.environ, HOME=home, XDG_CONFIG_HOME=home, VMD_SOCKET=home + "/vmd.sock", VMCTL_NO_AUTOSTART="1")
log = home + "/log"


def vmctl(*args):
    return subprocess.run([build + "/bin/vmctl", *args], env=env, capture_output=True, text=True, timeout=60)


class Daemon:
    def start(self):
        self.process = subprocess.Popen(
            [build + "/bin/vmd", "--socket", env["VMD_SOCKET"], "--state", home + "/state", "--config", home + "/vmd.yaml"],
            env=env, stderr=open(log, "a"))
        for _ in range(500):
            if vmctl("ps", "-q").returncode == 0:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        stop("vmd does not start again: " + open(log).read()[-2000:])

    def kill(self):
        if self.process.poll() is not None:
            stop("vmd ended by itself, with %d: %s" % (self.process.returncode, open(log).read()[-2000:]))
        self.process.kill()
        self.process.wait()


daemon = Daemon()
lock = threading.Lock()  # over everything below
guests = {}  # name: "created" | "running" | "failed" while it was started; acknowledged
removed = set()
tags = set()
killed_pids = set()
counts = dict(created=0, running=0, failed=0, renamed=0, removed=0, tagged=0, again=0)
going = True


def kill_process(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False


def stop(why):
    daemon.process.kill()
    for pid in workers():
        kill_process(pid)
    print("crash: LOST: %s (seed %d; state in %s)" % (why, seed, home), flush=True)
    os._exit(1)


def until_answered(refusals, *args):
    """What the call said in the end, having been repeated; refusals: texts that say that an unanswered try was carried
    out, or that the guest's worker died of it."""
    tries = 0
    while True:
        r = vmctl(*args)
        if r.returncode == 0 or any(t in r.stderr for t in refusals if tries or "died" in t):
            return r.stderr
        if not ("UNAVAILABLE" in r.stderr or "daemon" in r.stderr):
            stop("%s (try %d): %s" % (" ".join(args), tries, r.stderr.strip()))
        tries += 1
        counts["again"] += 1
        time.sleep(0.01)


def client(which):
    rng = random.Random(seed * 7 + which)
    mine, n = {}, 0
    while going:
        what = rng.random()
        if len(mine) < 4 or (what < 0.4 and len(mine) < 40):
            n += 1
            name = "g%d-%d" % (which, n)
            until_answered([], "create", "--name", name, "--request-id", name, "--image", "busybox", "--", "sleep", "1000000")
            counts["created"] += 1
            mine[name] = "created"
            with lock:
                guests[name] = "created"
        elif what < 0.7:
            name = rng.choice(list(mine))
            if mine[name] == "created":
                said = until_answered(["is running", "has failed before", "died of signal 9"], "start", name)
                # a start that was not answered may have failed with the daemon
                mine[name] = "running" if not said or "is running" in said else "failed"
                counts[mine[name]] += 1
                with lock:
                    guests[name] = mine[name]
        elif what < 0.8:
            name = rng.choice(list(mine))
            new = name + "r"
            with lock:
                state = guests.pop(name)
            until_answered(["no guest"], "rename", name, new)
            counts["renamed"] += 1
            mine[new] = mine.pop(name)
            with lock:
                guests[new] = state
                removed.add(name)
        elif what < 0.83:
            n += 1
            tag = "t%d-%d" % (which, n)
            until_answered([], "image", "tag", "busybox", tag)
            counts["tagged"] += 1
            with lock:
                tags.add(tag)
        elif len(mine) > 8:
            name = rng.choice(list(mine))
            with lock:
                del guests[name]
            until_answered(["no guest"], "rm", "-f", name)
            counts["removed"] += 1
            del mine[name]
            with lock:
                removed.add(name)


def workers():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if open("/proc/%s/comm" % pid).read() == "vmd-worker\n" and os.readlink("/proc/%s/fd/2" % pid) == log:
                found.append(int(pid))
        except OSError:
            pass
    return found


def check():
    """With what was acknowledged before the question: what is answered later may be in the answer or not."""
    with lock:
        want, gone, named = dict(guests), set(removed), set(tags)
    r = vmctl("ps", "-a", "-o", "jsonl")
    if r.returncode:
        stop("ps: " + r.stderr)
    have = {}
    for line in r.stdout.splitlines():
        g = json.loads(line)
        if g["name"] in have:
            stop("two guests of one name: " + g["name"])
        have[g["name"]] = g
    with lock:
        still = {name for name in want if name in guests}  # not renamed or removed meanwhile
    for name in still:
        if name not in have:
            stop("guest %s (%s)" % (name, want[name]))
        g = have[name]
        state = g["state"].replace("GUEST_STATE_", "")
        if want[name] == "running":
            if state in ("CREATED", "STARTING"):
                stop("guest %s was started and is %s" % (name, state))
            if state not in ("RUNNING", "STOPPING") and not g.get("end"):
                stop("guest %s is %s without a reason" % (name, state))
            if state not in ("RUNNING", "STOPPING") and not killed_pids & set(map(int, re.findall(r"\d+", g["end"]["text"]))):
                stop("guest %s is %s, and no worker that was killed is why: %s" % (name, state, g["end"]))
    for name in gone & set(have):
        stop("guest %s was removed or renamed and is there" % name)
    r = vmctl("image", "ls", "-o", "jsonl")
    there = {json.loads(line)["name"] for line in r.stdout.splitlines()}
    if named - there:
        stop("tags %s; there are %s" % (sorted(named - there), sorted(there)))


with open(home + "/vmd.yaml", "w") as f:
    f.write("workers:\n  isolation: guest\n")
begin = time.time()
daemon.start()
r = vmctl("image", "import", image_dir, "--name", "busybox")
if r.returncode:
    stop("import: " + r.stderr)
threads = [threading.Thread(target=client, args=(i,)) for i in range(3)]
for t in threads:
    t.start()
dead_workers = dead_daemons = 0
while dead_workers < want_workers or dead_daemons < want_daemons:
    time.sleep(random.random() * 0.15)
    left_w, left_d = want_workers - dead_workers, want_daemons - dead_daemons
    if random.random() * (left_w + left_d) < left_w:
        pids = workers()
        if not pids:
            continue
        pid = random.choice(pids)
        killed_pids.add(pid)
        dead_workers += kill_process(pid)
    else:
        daemon.kill()
        dead_daemons += 1
        daemon.start()
        check()
going = False
for t in threads:
    t.join()
check()
names = vmctl("ps", "-a", "-q").stdout.split()
running = vmctl("ps", "-q").stdout.split()
if names:
    r = vmctl("rm", "-f", *names)
    if r.returncode:
        stop("rm: " + r.stderr)
for _ in range(100):
    if len(workers()) <= 1:
        break
    time.sleep(0.05)
if len(workers()) > 1:  # one stands by
    stop("worker processes are left: %s" % workers())
if os.listdir(home + "/state/console"):
    stop("consoles are left: %s" % os.listdir(home + "/state/console"))
daemon.process.terminate()
if daemon.process.wait():
    stop("vmd ended with %d" % daemon.process.returncode)
print("crash workers_killed %d daemons_killed %d seconds %.0f seed %d %s guests_at_the_end %d still_running %d tags %d" % (
    dead_workers, dead_daemons, time.time() - begin, seed, " ".join("%s %d" % kv for kv in counts.items()), len(names), len(running), len(tags)))
shutil.rmtree(home)
