"""What the load tests written in Python share: servers on a core, bursts of wrk, and how figures are told.

Every load test ends its output with one line of JSON, by which `load-tests/run` makes one table of all:

    {"figures": [{"figure": "p99 …", "measured": "3.1 ms", "wanted": "under 5 ms", "met": true}, …]}

`met` is null where nothing is wanted, or where nobody can tell.
"""
import json, os, pathlib, re, shlex, shutil, signal, socket, statistics, subprocess, sys, time
import contextlib, tempfile, urllib.request

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
CONNECTIONS = 256
TICKS = os.sysconf("SC_CLK_TCK")


def need(commands, modules=()):
    """Installs what is missing, as root on Debian; otherwise says what to install."""
    missing = [package for command, package in commands.items() if not shutil.which(command)]
    missing += [package for file, package in modules if not pathlib.Path(file).exists()]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit("missing: " + " ".join(missing))
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
                   check=True, stdout=subprocess.DEVNULL, env=quiet)


def release(*examples):
    """Returns the folder of release builds, built anew; or, of TRIBUTARY, the folder that it lies in."""
    given = os.environ.get("TRIBUTARY")
    if given:
        return pathlib.Path(given).resolve().parent
    build = ["cargo", "build", "--release", "--quiet", "--bin", "tributary"]
    for example in examples:
        build += ["--example", example]
    subprocess.run(build, cwd=ROOT, check=True)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "release"


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return f"{model[1] if model else 'unknown processor'}, {os.cpu_count()} cores"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, process, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            sys.exit(f"{process.args[0:6]} ended early")
        try:
            if what():
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.05)
    sys.exit(f"{process.args[0:6]} did not come up")


def on_core_0(command, **options):
    return subprocess.Popen(["taskset", "-c", "0", *map(str, command)], **options)


@contextlib.contextmanager
def scratch():
    """A folder for the run, and a list of processes that are stopped, the last one first, when it ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as folder:
        work, started = pathlib.Path(folder), []
        work.chmod(0o711)  # as root the engines run as another user
        try:
            yield work, started
        finally:
            for process in reversed(started):
                process.send_signal(signal.SIGTERM)
            for process in started:
                process.wait(60)


class Dev:
    """`tributary dev` in a folder: the service, and its engines, all on core 0."""

    def __init__(self, target, data, started, **settings):
        self.log, begun = data.parent / "log", time.time()
        with open(self.log, "a") as log:
            self.process = on_core_0([target / "tributary", "dev", "--no-demo", "--data-dir", data],
                                     env={**os.environ, **settings}, stdout=log, stderr=log)
        started.append(self.process)
        # Started again in its folder it has another address, which it writes down anew.
        wait_for(lambda: (data / "dev.env").stat().st_mtime >= begun
                 and {"LINK", "REDIS_URL"} <= settings_of(data).keys(), self.process, 120)
        self.settings = settings_of(data)
        self.url = self.settings["TRIBUTARY_URL"]
        wait_for(lambda: urllib.request.urlopen(self.url + "/robots.txt"), self.process)
        self.redis_path = re.sub(r"^redis\+unix://|^unix://|\?.*$", "", self.settings["REDIS_URL"])
        self.redis = Redis(self.redis_path)
        self.load = dict(os.environ, BROWSER=self.settings["BROWSER"],
                         LINK_PATH="/" + self.settings["LINK"].split("://", 1)[1].split("/", 1)[1])

    def service(self):
        """The process that serves: the engines' keeper has the same name and is small."""
        named = [p for p in family(self.process.pid) if name_of(p) == "tributary"]
        return max(named, key=resident_mib)

    def sql(self, text):
        """Asks PostgreSQL as the owner; returns what psql prints."""
        found = shutil.which("psql") or next(map(str, pathlib.Path("/usr/lib/postgresql").glob("*/bin/psql")), None)
        if not found:
            sys.exit("missing: postgresql-client")
        url = self.settings["TRIBUTARY_MIGRATE_DATABASE_URL"]
        return subprocess.run([found, "-qXAt", "-v", "ON_ERROR_STOP=1", url, "-c", text],
                              capture_output=True, text=True, check=True).stdout.strip()

    def waiting(self):
        """Entries of the streams that are not settled yet; each is a batch of events."""
        settled = int(self.sql("select coalesce(sum(n_entries), 0) from stream_offsets"))
        added = 0
        for key in self.redis.ask("KEYS", "trb:*:events"):
            told = self.redis.ask("XINFO", "STREAM", key.decode())
            added += dict(zip(told[::2], told[1::2]))[b"entries-added"]
        return added - settled


def metric(admin, name):
    """The sum of a metric over its labels."""
    with urllib.request.urlopen(f"http://{admin}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines
               if line.split("{")[0].split(" ")[0] == name)


def settings_of(data):
    """What `tributary dev` wrote for people and for commands; empty before it did."""
    settings = {}
    for file in (data / "dev.env", data / "service.env"):
        for line in file.read_text().splitlines() if file.exists() else []:
            line = line.removeprefix("export ").strip()
            if line and not line.startswith("#"):
                name, value = line.split("=", 1)
                settings[name] = "".join(shlex.split(value)) if value else ""
    return settings


def family(pid):
    """The process and all that it started."""
    children = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def name_of(pid):
    """The name of a process; none of one that has just ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def size_of(folder):
    """Bytes of all files below; those that go meanwhile are not counted."""
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total


class Redis:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def ask(self, *words):
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
        return self.read()

    def read(self):
        head = self.file.readline().strip()
        kind, rest = head[:1], head[1:]
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest

    def used(self):
        return int(re.search(rb"used_memory:(\d+)", self.ask("INFO", "memory"))[1])

    def pid(self):
        return int(re.search(rb"process_id:(\d+)", self.ask("INFO", "server"))[1])


class Server:
    """What a burst is sent to, and whose processor time it costs."""

    def __init__(self, name, url, *pids):
        self.name, self.url, self.pids = name, url, pids

    def burst(self, env, seconds, check=False, connections=CONNECTIONS, script="redirect/load.lua", rate=0):
        pids = [p for pid in self.pids for p in family(pid)]
        before = cpu_seconds(pids)
        env = dict(env, RATE=str(rate), CHECK="1" if check else "0")
        out = subprocess.run(
            ["taskset", "-c", "1", "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s",
             "-s", HERE / script, self.url], env=env, capture_output=True, text=True, check=True)
        line = re.search(r"RESULT (.*)", out.stdout)
        rate, p50, p99, worst, bad, broken = map(float, line[1].split())
        if bad or broken:
            print(f"{self.name}: {bad:.0f} bad answers, {broken:.0f} broken", file=sys.stderr)
        spent = cpu_seconds(pids) - before
        return dict(rate=rate, p50=p50 / 1000, p99=p99 / 1000, worst=worst / 1000, bad=int(bad + broken),
                    cpu=spent / max(rate * seconds, 1) * 1e6, n=rate * seconds)


def middle(values, form="{:.2f}"):
    """Minimum, median and maximum, as one text."""
    low, mid, high = min(values), statistics.median(values), max(values)
    return " / ".join(form.format(v) for v in (low, mid, high))


def figure(name, measured, wanted="", met=None):
    return {"figure": name, "measured": measured, "wanted": wanted, "met": met}


def tell(figures):
    """Prints the figures as a table, then as the line that `load-tests/run` reads."""
    for row in table(figures):
        print(row)
    print()
    print(json.dumps({"figures": figures}, ensure_ascii=False), flush=True)


def table(figures):
    told = {True: "yes", False: "no", None: ""}
    yield "| figure | measured | wanted | met |"
    yield "|---|---|---|---|"
    for f in figures:
        yield f"| {f['figure']} | {f['measured']} | {f['wanted']} | {told[f['met']]} |"
