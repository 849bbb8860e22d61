#!/usr/bin/env python3
"""Runs the jobs of deploy/slurm on a Slurm cluster of its own, and checks their reports and exit codes.

    cargo build --release
    tests/slurm/run.py target/release/mio-echo                     both jobs
    tests/slurm/run.py target/release/mio-echo --faults            also jobs in which a part fails
    tests/slurm/run.py target/release/mio-echo --only NAME         one case (--list prints the names)
    tests/slurm/run.py target/release/mio-echo --interrupt-test    interrupts itself, and checks that nothing is left

The cluster is a controller and four nodes. Each has a network namespace and a host name of its own on this machine. All
names contain the id of this process, and all files are in one temporary folder: two runs do not disturb each other.

The program has two processes. The worker builds the cluster and runs the cases. The supervisor waits for the worker,
and then removes everything: signals end only the worker, so they cannot interrupt the removal. It is a subreaper
(prctl(2)): a daemon whose parent ends becomes its child. So all processes of the cluster are its descendants, and it
finds them by their ids.

Exit codes: 0 passed, 1 failed or something is left behind, 130 or 143 interrupted. It needs Linux, root, Python 3.9,
and Debian's packages slurmctld, slurmd, slurm-client, munge and iproute2.
"""

import argparse
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
JOBS = ROOT / "deploy/slurm"
NODES = ["n1", "n2", "n3", "n4"]
HOSTS = {"ctl": "10.77.0.10", **{node: f"10.77.0.{11 + i}" for i, node in enumerate(NODES)}}

# The load of each loader.
RATE, SECONDS, CONNECTIONS = 300, 3, 4
LOAD = ["-r", str(RATE), "-c", str(CONNECTIONS), "-d", f"{SECONDS}s"]
# From the start of the loaders' step to --start-at. The script rounds it down to a whole second.
START_IN = 4
# The starts of the loaders may be this far apart. A report has the planned start, which --start-at makes equal. The
# first message is at most `generator.lateness.max` later than planned. So the limit holds for the sum of both.
MAX_SPREAD_MS = 250
# The longest wait for a job: START_IN, a warm-up of 1 s, the load, and the slow loader's delay. Most need 9 s.
JOB_LIMIT = 45

SLURM_CONF = """\
ClusterName=echo
SlurmctldHost=ctl({ctl})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={dir}/munge/socket
CredType=cred/munge
MpiDefault=none
MailProg=/bin/true
# Without cgroups: these plugins do not use /sys/fs/cgroup.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
# %n is the node: each slurmd has a folder of its own.
StateSaveLocation={dir}/ctl
SlurmdSpoolDir={dir}/%n
SlurmctldPidFile={dir}/slurmctld.pid
SlurmdPidFile={dir}/slurmd.%n.pid
SlurmctldLogFile={dir}/slurmctld.log
SlurmdLogFile={dir}/slurmd.%n.log
SchedulerType=sched/backfill
# The default delay of 60 s between two passes is too long for a test.
SchedulerParameters=bf_interval=1,sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
# The nodes may claim more processors than this machine has.
SlurmdParameters=config_overrides
KillWait=5
NodeName=n[1-4] NodeAddr=10.77.0.[11-14] CPUs=4 RealMemory=500 State=UNKNOWN
PartitionName=load Nodes=n[1-4] Default=YES MaxTime=10 State=UP
"""


class Failed(Exception):
    """A step or a check has failed. The text says what was seen."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("mio_echo", type=Path, help="the program to test")
    parser.add_argument("--faults", action="store_true", help="also run the cases in which a part fails")
    parser.add_argument("--only", metavar="NAME", choices=[case.__name__ for case in [*CASES, *FAULTS]])
    parser.add_argument("--list", action="version", version="\n".join(case.__name__ for case in [*CASES, *FAULTS]))
    parser.add_argument("--interrupt-test", action="store_true", help="interrupt this program at three moments")
    args = parser.parse_args()
    mio_echo = args.mio_echo.resolve()
    if not os.access(mio_echo, os.X_OK):
        parser.error(f"{args.mio_echo} is not a program")
    missing = [tool for tool in ("slurmctld", "slurmd", "sbatch", "munged", "mungekey", "ip") if not shutil.which(tool)]
    if missing:
        parser.error(f"these programs are missing: {' '.join(missing)} (their packages: slurmctld, slurmd, "
                     "slurm-client, munge, iproute2)")
    if os.geteuid() != 0:
        parser.error("network namespaces need root")
    # A daemon whose parent ends becomes a child of this process, and not of init.
    libc = ctypes.CDLL(None, use_errno=True)
    pr_set_child_subreaper = 36
    if libc.prctl(pr_set_child_subreaper, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    if args.interrupt_test:
        return interrupt_test(mio_echo)
    if args.only:
        cases = [case for case in [*CASES, *FAULTS] if case.__name__ == args.only]
    else:
        cases = CASES + (FAULTS if args.faults else [])
    return supervise(mio_echo, cases)


def supervise(mio_echo, cases):
    """Runs the worker, and removes what it has made, however it ends."""
    received = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: received.append(number))
    prefix = f"mio-echo-slurm-{os.getpid()}-"
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    # The jobs' processes may have another user id than the folder's owner.
    folder.chmod(0o755)
    sys.stdout.flush()
    worker = os.fork()
    if worker == 0:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        code = 1
        try:
            Worker(Cluster(prefix, folder), mio_echo).run(cases)
            code = 0
        except Failed as failure:
            print(f"FAILED: {failure}", flush=True)
            print_logs(folder)
        finally:
            sys.stdout.flush()
            os._exit(code)
    code = None
    while code is None and not received:
        pid, status = os.waitpid(worker, os.WNOHANG)
        if pid == worker:
            code = os.waitstatus_to_exitcode(status)
        else:
            time.sleep(0.05)
    left = remove(prefix, folder)
    for line in left:
        print(f"left behind: {line}", flush=True)
    if left:
        return 1
    if received:
        print(f"interrupted by {signal.Signals(received[0]).name}: everything is removed", flush=True)
        return 128 + received[0]
    print(f"{'passed' if code == 0 else 'failed'}: everything is removed", flush=True)
    return 0 if code == 0 else 1


def remove(prefix, folder):
    """Ends all descendants, removes the namespaces, mounts and files, and returns what is left."""
    deadline = time.monotonic() + 10
    while (pids := descendants(os.getpid())) and time.monotonic() < deadline:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reap()
        time.sleep(0.02)
    for name in namespaces(prefix):
        # Deletes also the interfaces in it, and with each its peer.
        subprocess.run(["ip", "netns", "delete", name], timeout=10, check=False)
    for mount in mounts(str(folder)):
        subprocess.run(["umount", "--lazy", mount], timeout=10, check=False)
    shutil.rmtree(folder, ignore_errors=True)
    left = [f"process {pid}: {command_line(pid)}" for pid in descendants(os.getpid())]
    return left + leftovers(prefix)


def leftovers(prefix):
    """Returns what has this prefix in its name: namespaces, mounts, temporary folders, and processes' arguments."""
    left = [f"namespace {name}" for name in namespaces(prefix)]
    left += [f"mount {mount}" for mount in mounts(prefix)]
    left += [f"folder {path}" for path in Path(tempfile.gettempdir()).glob(prefix + "*")]
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        if pid != os.getpid() and prefix in command_line(pid):
            left.append(f"process {pid}: {command_line(pid)}")
    return left


def namespaces(prefix):
    folder = Path("/run/netns")
    return sorted(path.name for path in folder.glob(prefix + "*")) if folder.is_dir() else []


def mounts(text):
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [point for point in points if text in point and not point.startswith(("/run/netns/", "/var/run/netns/"))]


def descendants(root):
    """The ids of all processes below this one. Zombies are reaped before, or are another process' children."""
    reap()
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            # The name is in parentheses and may contain any character: proc(5).
            state, parent = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z" or int(parent) == root:
            children.setdefault(int(parent), []).append(int(entry))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def print_logs(folder):
    """Prints the ends of the logs of the daemons and of the last job."""
    paths = [path for path in sorted(folder.glob("*.out")) if not path.name.startswith("job-")]
    jobs = sorted(folder.glob("job-*.out"), key=lambda path: path.stat().st_mtime)
    for job in jobs[-1:]:
        paths += [job, *sorted(job.with_suffix("").glob("*.log"))]
    for path in paths:
        lines = path.read_text(errors="replace").splitlines()[-12:]
        print(f"--- {path.relative_to(folder)}", *lines, sep="\n    ", flush=True)


class Cluster:
    """A controller and four nodes."""

    def __init__(self, prefix, folder):
        self.prefix = prefix
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        self.environment["SLURM_CONF"] = str(folder / "slurm.conf")

    def make_network(self):
        """Makes a network namespace for each host, and one with the bridge that connects them."""
        switch = self.prefix + "switch"
        self.ip("netns", "add", switch)
        self.ip("-n", switch, "link", "add", "br0", "type", "bridge")
        self.ip("-n", switch, "link", "set", "br0", "up")
        for host, address in HOSTS.items():
            name = self.prefix + host
            self.ip("netns", "add", name)
            self.ip("link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", host, "netns", switch)
            self.ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            self.ip("-n", name, "link", "set", "lo", "up")
            self.ip("-n", name, "link", "set", "eth0", "up")
            self.ip("-n", switch, "link", "set", host, "master", "br0", "up")

    def start(self):
        """Starts munged, slurmctld and the slurmd of each node, and waits until all nodes are idle."""
        folder = self.folder
        (folder / "slurm.conf").write_text(SLURM_CONF.format(dir=folder, ctl=HOSTS["ctl"]))
        # slurmd 22.05 loads a cgroup plugin even if nothing uses it. The one of version 1 needs nothing.
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        for name in ("ctl", "munge", *NODES):
            (folder / name).mkdir(mode=0o755)
        munge = folder / "munge"
        run(["mungekey", "--create", "--keyfile", str(munge / "key")])
        self.daemon("munged", ["munged", "--foreground", "--socket", str(munge / "socket"), "--pid-file",
                               str(munge / "pid"), "--log-file", str(munge / "log"), "--seed-file",
                               str(munge / "seed"), "--key-file", str(munge / "key")])
        wait_until("munged's socket", 10, lambda: (munge / "socket").exists())
        self.daemon("slurmctld", self.on("ctl", ["slurmctld", "-D", "-c"]))
        for node in NODES:
            self.daemon(f"slurmd-{node}", self.on(node, ["slurmd", "-D", "-N", node]))
        wait_until("four idle nodes", 30, self.idle)

    def idle(self):
        states = self.ctl(["sinfo", "-h", "-N", "-o", "%T"], check=False).stdout.split()
        return states == ["idle"] * len(NODES)

    def daemon(self, name, command):
        with open(self.folder / f"{name}.out", "wb") as out:
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.environment)

    def on(self, host, command):
        """The command line that runs this command on a host: in its network namespace, and with its host name.

        Not with `ip netns exec`: it mounts another /sys, without /sys/fs/cgroup, and slurmd ends.
        """
        script = 'hostname "$0"; exec "$@"'
        return ["nsenter", f"--net=/run/netns/{self.prefix}{host}", "unshare", "--uts", "sh", "-c", script, host,
                *command]

    def ctl(self, command, check=True, environment=()):
        return run(self.on("ctl", command), check=check, env={**self.environment, **dict(environment)})

    def ip(self, *arguments):
        run(["ip", *arguments])

    def pids(self, host, program, command):
        """The processes on this host that run `program command ...`."""
        pids = run(["ip", "netns", "pids", self.prefix + host]).stdout.split()
        found = []
        for pid in map(int, pids):
            try:
                executable = os.readlink(f"/proc/{pid}/exe")
            except OSError:
                continue
            if executable == str(program) and command_line(pid).split()[1:2] == [command]:
                found.append(pid)
        return found


class Job:
    """A job that was submitted."""

    def __init__(self, cluster, name, script, options=(), load=(), environment=(), output=None):
        self.cluster = cluster
        self.folder = cluster.folder / f"job-{name}"
        self.log_path = cluster.folder / f"job-{name}.out"
        script_and_arguments = [str(JOBS / script), str(output or self.folder), *LOAD, *load]
        self.id = cluster.ctl(["sbatch", "--parsable", "-o", str(self.log_path), *options, *script_and_arguments],
                              environment=environment).stdout.strip()

    def wait(self):
        """Waits for the end, and returns the exit code. `sbatch --wait` looks only every ten seconds."""
        record = ""

        def ended():
            nonlocal record
            record = self.cluster.ctl(["scontrol", "show", "job", "-o", self.id], check=False).stdout
            return re.search(r"JobState=(?!PENDING|CONFIGURING|RUNNING|COMPLETING)\w", record)

        wait_until(f"the end of job {self.id}", JOB_LIMIT, ended)
        code, number = re.search(r" ExitCode=(\d+):(\d+)", record).groups()
        # The next job needs all nodes, and the last slurmstepd may still be there.
        wait_until("four idle nodes", 15, self.cluster.idle)
        return int(code) if number == "0" else f"signal {number}"

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def expect(self, code, *messages):
        observed = self.wait()
        check(observed == code, f"exit code {observed}, expected {code}\n{self.log()}")
        for message in messages:
            check(re.search(message, self.log()), f"the job's output does not have “{message}”:\n{self.log()}")

    def report(self, name="merged"):
        path = self.folder / f"{name}.json"
        check(path.exists(), f"{path.name} is missing:\n{self.log()}")
        return json.loads(path.read_text())

    def expect_incomplete(self, loaders, reason):
        """Checks the merged report of a job that lost a part: it has the other parts, and says what is missing."""
        merged = self.report()
        for validity in (merged["validity"], merged["runs"][0]["validity"]):
            check(validity["verdict"] == "invalid", f"verdict {validity}")
            check(any(re.search(reason, text) for text in validity["reasons"]), f"no “{reason}” in {validity}")
        rest = sum(self.report(f"load.{node}")["runs"][0]["counts"]["ok"] for node in loaders)
        ok = merged["runs"][0]["counts"]["ok"]
        check(ok == rest > 0, f"{ok} echoes in the merged report, {rest} in the reports of {loaders}")
        return f"merged.json: invalid, {ok} echoes of {len(loaders)} loader(s)"


class Worker:
    """Builds the cluster and runs the cases."""

    def __init__(self, cluster, mio_echo):
        self.cluster = cluster
        self.mio_echo = mio_echo
        self.started = time.monotonic()

    def run(self, cases):
        self.say(f"set-up in {self.cluster.folder}")
        self.cluster.make_network()
        self.say("five hosts in network namespaces")
        self.cluster.start()
        self.say("four nodes are idle")
        for case in cases:
            began = time.monotonic()
            result = case(self)
            self.say(f"{case.__name__}: {result} ({time.monotonic() - began:.1f} s)")

    def say(self, text):
        print(f"{time.monotonic() - self.started:5.1f} s  {text}", flush=True)

    def submit(self, name, script, mio_echo=None, **options):
        environment = {"MIO_ECHO": str(mio_echo or self.mio_echo), "START_IN": str(START_IN)}
        environment.update(options.pop("variables", {}))
        job = Job(self.cluster, name, script, environment=environment, **options)
        self.say(f"{name}: job {job.id} is submitted")
        return job

    def wait_for_load(self, job, node):
        """Waits until this loader has printed the figures of its first second."""
        path = job.folder / f"load.{node}.log"
        wait_until(f"the load of {node}", 20, lambda: path.exists() and f"1 of {SECONDS} s" in path.read_text())

    def kill(self, host, command):
        pids = self.cluster.pids(host, self.mio_echo, command)
        check(len(pids) == 1, f"one `mio-echo {command}` on {host} expected, found {pids}")
        os.kill(pids[0], signal.SIGKILL)

    def passes(self, job, loaders, servers):
        """Checks a complete job from its reports."""
        job.expect(0, r"(?m)^valid$")
        expected = RATE * SECONDS
        starts, lateness_ms = [], 0
        for node in loaders:
            run = job.report(f"load.{node}")["runs"][0]
            check_counts(node, run, expected)
            starts.append(run["started_at_ns"])
            lateness_ms = max(lateness_ms, run["generator"]["lateness"]["max"] / 1e6)
        merged = job.report()
        check(merged["validity"]["verdict"] == "valid", merged["validity"])
        check_counts("merged", merged["runs"][0], expected * len(loaders))
        spread = (max(starts) - min(starts)) / 1e6
        text = f"planned starts {spread:.1f} ms apart, messages sent at most {lateness_ms:.1f} ms late"
        check(spread + lateness_ms <= MAX_SPREAD_MS, f"{text}: together more than {MAX_SPREAD_MS} ms")
        for node in servers:
            # The server closed its connections and printed its statistics.
            found = re.search(r'"accepted": *(\d+)', (job.folder / f"server.{node}.out").read_text())
            accepted = int(found.group(1)) if found else 0
            check(accepted == CONNECTIONS * len(loaders) // len(servers), f"server {node} accepted {accepted}")
        return f"{expected * len(loaders)} echoes verified, {text}"


def echo_load(worker):
    return worker.passes(worker.submit("echo_load", "echo-load.sbatch"), NODES[1:], NODES[:1])


def echo_pairs(worker):
    return worker.passes(worker.submit("echo_pairs", "echo-pairs.sbatch"), NODES[2:], NODES[:2])


def killed_loader(worker):
    job = worker.submit("killed_loader", "echo-load.sbatch")
    worker.wait_for_load(job, "n3")
    worker.kill("n3", "bench")
    job.expect(21, "the report of loader n3 is missing", "report of 2 of 3 loaders")
    return "exit code 21, " + job.expect_incomplete(["n2", "n4"], "loader n3 is missing")


def killed_loader_of_a_pair(worker):
    job = worker.submit("killed_loader_of_a_pair", "echo-pairs.sbatch")
    worker.wait_for_load(job, "n4")
    worker.kill("n4", "bench")
    job.expect(21, "the report of loader n4 is missing", "report of 1 of 2 loaders")
    return "exit code 21, " + job.expect_incomplete(["n3"], "loader n4 is missing")


def slow_loader(worker):
    wrapper = worker.cluster.folder / "slow-mio-echo"
    wrapper.write_text('#!/bin/sh\n[ "$SLURMD_NODENAME $1" = "n4 bench" ] && sleep %d\nexec "%s" "$@"\n'
                       % (START_IN + 1, worker.mio_echo))
    wrapper.chmod(0o755)
    job = worker.submit("slow_loader", "echo-load.sbatch", mio_echo=wrapper)
    job.expect(21, "the report of loader n4 is missing", "--start-at.* ago: write a later time")
    return "exit code 21, " + job.expect_incomplete(["n2", "n3"], "loader n4 is missing")


def killed_server(worker):
    job = worker.submit("killed_server", "echo-load.sbatch")
    worker.wait_for_load(job, "n2")
    worker.kill("n1", "serve")
    job.expect(20, "server on n1 ended before the loaders")
    return "exit code 20, " + job.expect_incomplete(NODES[1:], "server on n1 ended before the loaders")


def killed_server_of_a_pair(worker):
    job = worker.submit("killed_server_of_a_pair", "echo-pairs.sbatch")
    worker.wait_for_load(job, "n3")
    worker.kill("n2", "serve")
    job.expect(20, "server on n1,n2 ended before the loaders", "n2: task 1: Killed")
    return "exit code 20, " + job.expect_incomplete(NODES[2:], "server on n1,n2 ended before the loaders")


def server_that_does_not_start(worker):
    job = worker.submit("server_that_does_not_start", "echo-load.sbatch", variables={"PORT": "99999"})
    job.expect(20, "the server on n1 did not start", "99999")
    return "exit code 20"


def wrong_bench_option(worker):
    job = worker.submit("wrong_bench_option", "echo-load.sbatch", load=["--no-such-option"])
    job.expect(21, "the report of loader n2 is missing", "--no-such-option", "no merged report")
    return "exit code 21"


def met_condition(worker):
    job = worker.submit("met_condition", "echo-load.sbatch", load=["--fail-if", "p50>1ns"])
    job.expect(99, r"a loader ended with exit code 99")
    return "exit code 99"


def too_few_nodes(worker):
    for script, nodes, message in (("echo-load", 1, "2 nodes at least"), ("echo-pairs", 3, "even number of nodes")):
        job = worker.submit(f"too_few_nodes_{script}", f"{script}.sbatch", options=[f"--nodes={nodes}"])
        job.expect(2, message)
    return "exit code 2"


def wrong_node(worker):
    result = worker.cluster.ctl(["sbatch", "-w", "n9", str(JOBS / "echo-load.sbatch"), "out"], check=False)
    text = result.stdout + result.stderr
    check(result.returncode == 1 and "Invalid node name" in text, f"sbatch: exit code {result.returncode}: {text}")
    return "sbatch refuses it with exit code 1"


CASES = [echo_load, echo_pairs]
FAULTS = [killed_loader, killed_loader_of_a_pair, slow_loader, killed_server, killed_server_of_a_pair,
          server_that_does_not_start, wrong_bench_option, met_condition, too_few_nodes, wrong_node]


def interrupt_test(mio_echo):
    """Interrupts a run of this program at three moments. Then nothing of it may be left."""
    failures = 0
    for moment, line in (("set-up", "set-up in"), ("idle nodes", "four nodes are idle"), ("job", "is submitted")):
        child = subprocess.Popen([sys.executable, __file__, str(mio_echo)], stdout=subprocess.PIPE, text=True,
                                 start_new_session=True)
        # The child ends the pipe at the latest after its own limits.
        for text in child.stdout:
            if line in text:
                # The network namespaces, or the steps of the job, are being made.
                time.sleep({"set-up": 0.1, "idle nodes": 0, "job": 3}[moment])
                child.send_signal(signal.SIGINT)
                began = time.monotonic()
                break
        rest = child.stdout.read()
        code = child.wait(timeout=60)
        left = leftovers(f"mio-echo-slurm-{child.pid}-") + [f"process {pid}" for pid in descendants(os.getpid())]
        good = code == 130 and not left
        failures += not good
        print(f"interrupted during {moment}: exit code {code} after {time.monotonic() - began:.1f} s, left behind: "
              f"{left or 'nothing'}", flush=True)
        if not good:
            print(rest, flush=True)
    return 1 if failures else 0


def check_counts(name, run, expected):
    counts = run["counts"]
    good = counts["ok"] == counts["sent"] == counts["scheduled"] == expected and counts["errors"] == 0
    check(good and run["parameters"]["verify"], f"{name}: expected {expected} verified echoes: {counts}")


def check(condition, text):
    if not condition:
        raise Failed(text)


def wait_until(what, limit, condition):
    deadline = time.monotonic() + limit
    while not condition():
        check(time.monotonic() < deadline, f"{what}: not within {limit} s")
        time.sleep(0.1)


def run(command, check=True, env=None):
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=15, env=env)
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(command)}: no end within 15 s") from None
    if check and result.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit code {result.returncode}: {result.stdout}{result.stderr}")
    return result


if __name__ == "__main__":
    sys.exit(main())
