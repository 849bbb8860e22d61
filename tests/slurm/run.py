#!/usr/bin/env python3
"""Runs the jobs of deploy/slurm on a Slurm cluster of its own, and checks their merged reports.

    tests/slurm/run.py PROGRAM                    two jobs without faults
    tests/slurm/run.py PROGRAM --faults           also a killed loader, a slow one, a killed server, a wrong node
    tests/slurm/run.py PROGRAM --interrupt-test   is interrupted at three moments, and must leave nothing

The cluster is four hosts and a controller on this machine. Each host is a network namespace with a bridge between them,
and a UTS namespace. Their names contain the number of this process, so two runs do not disturb each other. At the end,
also after an interruption, the namespaces, the daemons and the temporary folder are gone.

Needs root, and slurmctld, slurmd, slurm-client, munge and iproute2. PROGRAM is a mio-echo.
"""

import argparse
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy/slurm"
NODES = ["n1", "n2", "n3", "n4"]
ADDRESSES = {"ctl": "10.77.0.10", "n1": "10.77.0.11", "n2": "10.77.0.12", "n3": "10.77.0.13", "n4": "10.77.0.14"}
# Much longer than any step takes. The scheduler of Slurm can leave a job waiting for half a minute.
LIMIT = 90
# Every message of a job is sent within this time after its time in the schedule.
LARGEST_LATENESS_NS = 250_000_000
START = time.monotonic()


class Failed(Exception):
    """A check failed. The message says what was seen."""


def say(text):
    print(f"{time.monotonic() - START:6.1f} s  {text}", flush=True)


def run(*command, **options):
    """Runs a command that must succeed, and returns its standard output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, **options)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def until(what, look, limit=LIMIT):
    """Calls `look` until it returns something true, and returns that."""
    end = time.monotonic() + limit
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise Failed(f"waited {limit} s for {what}")
        time.sleep(0.1)


class Cluster:
    """Four hosts and a controller with Slurm."""

    def __init__(self, program):
        self.program = program
        self.prefix = f"mio-echo-{os.getpid()}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.prefix}-"))
        self.folder.chmod(0o755)
        self.daemons = []
        self.environment = os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf"), "MIO_ECHO": str(program)}

    def start(self):
        switch = self.namespace("switch")
        run("ip", "netns", "add", switch)
        run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "br0", "up")
        for host, address in ADDRESSES.items():
            name = self.namespace(host)
            run("ip", "netns", "add", name)
            run("ip", "link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", host, "netns", switch)
            run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            for link in ["lo", "eth0"]:
                run("ip", "-n", name, "link", "set", link, "up")
            run("ip", "-n", switch, "link", "set", host, "master", "br0", "up")
        say(f"five hosts in namespaces {self.prefix}-*")
        self.start_munge()
        self.configure()
        self.daemon("slurmctld", self.on("ctl", "slurmctld", "-D", "-c"))
        for node in NODES:
            (self.folder / node).mkdir()
            self.daemon(node, self.on(node, "slurmd", "-D", "-N", node))
        idle = lambda: self.ask("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * 4
        until("four idle nodes", idle)
        say("four nodes are idle")

    def start_munge(self):
        """Starts the authentication of Slurm, with a key of its own. munged refuses a folder that others may write."""
        folder = self.folder / "munge"
        folder.mkdir(mode=0o755)
        key = folder / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        user = pwd.getpwnam("munge")
        for path in [folder, key]:
            os.chown(path, user.pw_uid, user.pw_gid)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={folder / name}" for option, name in files.items()]
        as_munge = ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups"]
        self.daemon("munged", [*as_munge, "munged", "--foreground", *options])
        until("munged", (folder / "socket").exists)

    def configure(self):
        # slurmd 22.05 initializes a cgroup plugin whether or not it is used; that of v1 asks for nothing.
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        (self.folder / "ctl").mkdir()
        nodes = "".join(f"NodeName={n} NodeAddr={ADDRESSES[n]} CPUs=4 RealMemory=1000 State=UNKNOWN\n" for n in NODES)
        text = (pathlib.Path(__file__).with_name("slurm.conf.in")).read_text()
        text = text.replace("@FOLDER@", str(self.folder)).replace("@CTL@", ADDRESSES["ctl"])
        (self.folder / "slurm.conf").write_text(text + nodes)

    def namespace(self, host):
        return f"{self.prefix}-{host}"

    def on(self, host, *command):
        """Returns the command that runs a command on a host: in its network, and with its name.

        Not `ip netns exec`: that mounts a new /sys without cgroups, and slurmd ends at once.
        """
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', host]
        return ["nsenter", f"--net=/run/netns/{self.namespace(host)}", *named, *command]

    def daemon(self, name, command):
        log = open(self.folder / f"{name}.out", "wb")
        self.daemons.append(subprocess.Popen(command, stdout=log, stderr=log, env=self.environment))

    def ask(self, *command):
        """Runs a command of Slurm on the controller, and returns its output; empty if it failed."""
        command = self.on("ctl", *command)
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, check=False)
        return done.stdout if done.returncode == 0 else ""

    def submit(self, job, folder, *options, of_sbatch=(), environment=None):
        """Submits a job, and returns sbatch as it ended."""
        command = ["sbatch", "--parsable", "-o", str(folder) + ".out", *of_sbatch, DEPLOY / job, folder, *options]
        environment = self.environment | (environment or {})
        return subprocess.run(self.on("ctl", *map(str, command)), capture_output=True, text=True, env=environment,
                              timeout=LIMIT, check=False)

    def job(self, job, name, *options, environment=None, meanwhile=None):
        """Runs a job to its end. Returns its folder, its exit code and its output."""
        folder = self.folder / name
        submitted = self.submit(job, folder, *options, environment=environment)
        number = submitted.stdout.strip()
        if not number.isdigit():
            raise Failed(f"sbatch: {submitted}")
        output = lambda: pathlib.Path(f"{folder}.out").read_text() if pathlib.Path(f"{folder}.out").exists() else ""
        say(f"{name}: job {number} is submitted")
        if meanwhile:
            until("the start of the loaders", lambda: "start at" in output())
            meanwhile()
        running = r"JobState=(PENDING|CONFIGURING|RUNNING|COMPLETING)"
        shown = lambda: self.ask("scontrol", "show", "job", "-o", number)
        until(f"the end of job {number}", lambda: (text := shown()) and not re.search(running, text))
        code = int(re.search(r"ExitCode=(\d+)", shown()).group(1))
        say(f"{name}: job {number} ended with {code}")
        return folder, code, output()

    def pid_of(self, host, command):
        """Returns the process of `mio-echo COMMAND` on a host. It must come."""

        def look():
            for pid in run("ip", "netns", "pids", self.namespace(host)).split():
                try:
                    words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                except FileNotFoundError:
                    continue
                if pathlib.Path(os.fsdecode(words[0])).name == "mio-echo" and words[1:2] == [command.encode()]:
                    return int(pid)
            return None

        return until(f"mio-echo {command} on {host}", look)

    def logs(self):
        """Returns the ends of all logs, for the message of a failure."""
        text = ""
        for path in sorted(self.folder.rglob("*")):
            if path.suffix in [".out", ".log"] and path.is_file():
                text += f"--- {path.relative_to(self.folder)}\n{path.read_text(errors='replace')[-1500:]}\n"
        return text

    def stop(self):
        """Ends everything that this process started. Fails if something is left."""
        hosts = ["switch", *ADDRESSES]
        existing = [self.namespace(host) for host in hosts if os.path.exists(f"/run/netns/{self.namespace(host)}")]
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        # The steps of jobs are children of slurmd's helpers, and live on without it.
        for name in existing:
            for pid in run("ip", "netns", "pids", name).split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        for name in existing:
            until(f"the processes of {name} to end", lambda: not run("ip", "netns", "pids", name).split(), limit=10)
            run("ip", "netns", "delete", name)
        shutil.rmtree(self.folder, ignore_errors=True)
        left = leftovers(self.prefix)
        if left:
            raise Failed(f"left behind: {left}")


def leftovers(prefix):
    """Returns what has this prefix: namespaces, folders, and processes whose command line has it."""
    left = [name for name in os.listdir("/run/netns") if name.startswith(prefix)] if os.path.isdir("/run/netns") else []
    left += [str(path) for path in pathlib.Path(tempfile.gettempdir()).glob(f"{prefix}-*")]
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if f"{prefix}-".encode() in words and int(process.name) != os.getpid():
            left.append(f"process {process.name}: {words.decode(errors='replace')}")
    return left


def check(condition, what):
    if not condition:
        raise Failed(what)


def check_merged(folder, code, output, loaders, messages):
    """Checks a job without faults: each echo of each loader is right, and they ran together.

    All loaders have the same planned start, so `started_at_ns` says nothing about when they sent. Their lateness does:
    the starts lie at most as far apart as the largest one.
    """
    check(code == 0, f"exit code {code}: {output}")
    merged = json.loads((folder / "merged.json").read_text())
    counts = merged["runs"][0]["counts"]
    check(counts["ok"] == counts["sent"] == messages * len(loaders) and counts["errors"] == 0, f"counts: {counts}")
    starts, late = set(), 0
    for node in loaders:
        report = json.loads((folder / f"load.{node}.json").read_text())["runs"][0]
        check(report["parameters"]["verify"] is True, f"{node}: {report['parameters']}")
        check(report["counts"]["ok"] == messages, f"{node}: {report['counts']}")
        starts.add(report["started_at_ns"])
        late = max(late, report["generator"]["lateness"]["max"])
    check(len(starts) == 1, f"different starts: {starts}")
    check(late < LARGEST_LATENESS_NS, f"a message was sent {late / 1e6:.1f} ms late")
    say(f"  {counts['ok']} echoes, all verified; the starts lie at most {late / 1e6:.2f} ms apart")


def plain(cluster):
    options = ["-r", "300", "-c", "4", "-d", "2s", "-w", "0s"]
    check_merged(*cluster.job("echo-load.sbatch", "load", *options), ["n2", "n3", "n4"], 600)
    check_merged(*cluster.job("echo-pairs.sbatch", "pairs", *options), ["n3", "n4"], 600)


def faults(cluster):
    options = ["-r", "300", "-c", "4", "-d", "5s", "-w", "0s"]

    def killed(host, command):
        def meanwhile():
            pid = cluster.pid_of(host, command)
            for node in ["n2", "n3", "n4"]:
                cluster.pid_of(node, "bench")
            # The schedule starts three seconds after the line "start at".
            time.sleep(5)
            os.kill(pid, signal.SIGKILL)

        return meanwhile

    start = {"START_IN": "3"}
    folder, code, output = cluster.job("echo-load.sbatch", "killed-loader", *options, environment=start,
                                       meanwhile=killed("n3", "bench"))
    check(code == 21 and "no report of n3 " in output, f"a killed loader: {code}: {output}")
    check(not (folder / "merged.json").exists(), "a merged report without n3")
    partial = json.loads((folder / "partial.json").read_text())["runs"][0]["counts"]
    check(partial["ok"] == 3000 and partial["errors"] == 0, f"the other loaders: {partial}")

    slow = cluster.folder / "slow" / "mio-echo"
    slow.parent.mkdir()
    slow.write_text('#!/bin/sh\n[ "$(hostname) $1" != "n3 bench" ] || sleep 6\n' f'exec "{cluster.program}" "$@"\n')
    slow.chmod(0o755)
    folder, code, output = cluster.job("echo-load.sbatch", "slow-loader", *options,
                                       environment=start | {"MIO_ECHO": str(slow)})
    log = (folder / "load.n3.log").read_text()
    check(code == 21 and "no report of n3 " in output, f"a slow loader: {code}: {output}")
    check("ago" in log or "too late" in log, f"the log of the slow loader: {log}")

    folder, code, output = cluster.job("echo-load.sbatch", "killed-server", *options, environment=start,
                                       meanwhile=killed("n1", "serve"))
    check(code == 20 and "the server on n1 ended before the loaders" in output, f"a killed server: {code}: {output}")

    wrong = cluster.submit("echo-load.sbatch", cluster.folder / "wrong", of_sbatch=["-w", "nowhere"])
    check(wrong.returncode != 0 and "nvalid node name" in wrong.stderr, f"a wrong node: {wrong}")
    say(f"wrong-node: {wrong.stderr.strip().splitlines()[-1]}")

    few = cluster.folder / "few"
    submitted = cluster.submit("echo-load.sbatch", few, of_sbatch=["--nodes=2"])
    output = pathlib.Path(f"{few}.out")
    until("the message about few nodes", lambda: output.exists() and "at least three nodes" in output.read_text())
    say(f"few-nodes: job {submitted.stdout.strip()}: {output.read_text().strip()}")


def interrupted(program):
    """Interrupts this program at three moments. Each time nothing may be left."""
    for moment in ["five hosts", "four nodes are idle", "job 1 is submitted"]:
        child = subprocess.Popen([sys.executable, __file__, str(program)], stdout=subprocess.PIPE, text=True)
        for line in child.stdout:
            if moment in line:
                break
        else:
            raise Failed(f"the program ended before {moment!r}")
        if "job" in moment:
            # The steps of the job have started.
            time.sleep(4)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=LIMIT)
        left = leftovers(f"mio-echo-{child.pid}")
        check(child.returncode == 130 and not left, f"interrupted at {moment!r}: {child.returncode}, left: {left}")
        say(f"interrupted at {moment!r}: nothing is left")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--interrupt-test", action="store_true")
    args = parser.parse_args()
    program = args.program.resolve()
    if not os.access(program, os.X_OK):
        parser.error(f"{program} is no program")
    if args.interrupt_test:
        return interrupted(program)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    cluster = Cluster(program)
    try:
        cluster.start()
        plain(cluster)
        if args.faults:
            faults(cluster)
        say("passed")
    except (Failed, subprocess.TimeoutExpired) as failure:
        raise Failed(f"{failure}\n{cluster.logs()}") from failure
    finally:
        # A second signal must not interrupt the cleaning.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        cluster.stop()


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"failed: {failure}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
