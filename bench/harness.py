#!/usr/bin/env python3
"""Lambent benchmark harness: measures anything that speaks the AWS Lambda API.

    bench.py --endpoint http://127.0.0.1:4566 --scenarios cold,warm --json out.json

It also measures servers that only answer an invoke-like POST (``--raw-path``):
the runtime interface emulator, serverless-offline, functions-framework, a plain
HTTP server as the ceiling.  See README.md beside this file.

The client is a raw asyncio HTTP/1.1 client (uvloop when installed).  A request is
signed with SigV4 once a minute at most and its bytes are reused, so that the
client costs the same few microseconds whatever the peer; every timed block
reports the client's own CPU seconds (``client_cpu_s``), the whole machine's
(``machine_cpu_s``) and, with --pid or --start, the server tree's (``server_cpu_s``).
"""
import argparse, asyncio, base64, io, json, os, re, resource, shlex, signal, statistics
import subprocess, sys, tempfile, threading, time, urllib.parse, uuid, zipfile

try:
    import uvloop
except ImportError:
    uvloop = None
import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions

NOW = time.perf_counter
SCENARIOS = ("cold", "warm", "throughput", "burst", "import", "async", "sqs",
             "stream", "firstbyte", "memory", "node", "custom")

# ------------------------------------------------------------------ handlers
HELLO_PY = "def handler(event, context):\n    return {'hello': 'world', 'n': event.get('n')}\n"
PROBE_PY = ("import sys, os\ndef handler(event, context):\n"
            "    return {'py': list(sys.version_info[:3]), 'pid': os.getpid(), 'uid': os.getuid()}\n")
SLEEP_PY = ("import time\ndef handler(event, context):\n"
            "    time.sleep(event.get('s', 0.5))\n    return 'ok'\n")
IMPORT_PY = ("import numpy, pandas\ndef handler(event, context):\n"
             "    return int(pandas.DataFrame({'a': numpy.arange(4)}).a.sum())\n")
COUNT_PY = '''import json, os, socket
def _tell(ids):
    if os.environ.get("COUNT_LOG"):
        for i in ids:
            print("counted", i)
        return
    d = ("".join(i + "\\n" for i in ids)).encode()
    if os.environ.get("COUNT_FILE"):
        fd = os.open(os.environ["COUNT_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.write(fd, d); os.close(fd); return
    s = socket.create_connection((os.environ["COUNT_HOST"], int(os.environ["COUNT_PORT"])), 10)
    s.sendall(d); s.shutdown(socket.SHUT_WR); s.recv(1); s.close()
def handler(event, context):
    if "Records" in event:
        _tell([r["body"] for r in event["Records"]])
        return {"batchItemFailures": []}
    _tell([str(event["id"])])
    return "ok"
'''
HELLO_JS = "exports.handler = async (event) => ({hello: 'world', n: event.n});\n"
YIELD_PY = """import time
def handler(event, context):
    yield "first"
    time.sleep(event.get("gap_ms", 0) / 1000)
    chunk = b"x" * 65536
    for left in range(event.get("bytes", 0), 0, -65536):
        yield chunk
"""
STREAM_JS = '''exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  stream.write('first');
  await new Promise(r => setTimeout(r, event.gap_ms || 300));
  const chunk = Buffer.alloc(65536, 120);
  for (let left = event.bytes || 0; left > 0; left -= chunk.length)
    if (!stream.write(chunk)) await new Promise(r => stream.once('drain', r));
  stream.end();
});
'''


def make_zip(files):
    b = io.BytesIO()
    with zipfile.ZipFile(b, "w", zipfile.ZIP_DEFLATED) as z:
        for name, text in files.items():
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            z.writestr(info, text)
    return b.getvalue()


def summary(ms):
    if not ms:
        return {"n": 0}
    s = sorted(ms)
    q = lambda p: s[min(len(s) - 1, max(0, round(p * (len(s) - 1))))]
    return {"n": len(s), "p50_ms": round(statistics.median(s), 3), "p90_ms": round(q(.9), 3),
            "p99_ms": round(q(.99), 3), "min_ms": round(s[0], 3), "max_ms": round(s[-1], 3)}


# ------------------------------------------------------- process-tree metering
class Tree:
    """The server's processes: descendants of a pid, plus any that carry our tag."""

    def __init__(self, pid=None, tag=None, match=None):
        self.pid, self.tag = pid, tag
        self.match = re.compile(match) if match else None
        self.hz = os.sysconf("SC_CLK_TCK")

    def pids(self):
        kids, out = {}, set()
        me = os.getpid()
        for d in os.listdir("/proc"):
            if not d.isdigit() or int(d) == me:
                continue
            try:
                with open(f"/proc/{d}/stat", "rb") as f:
                    ppid = int(f.read().rsplit(b")", 1)[1].split()[1])
                kids.setdefault(ppid, []).append(int(d))
                if self.tag:
                    with open(f"/proc/{d}/environ", "rb") as f:
                        if self.tag in f.read():
                            out.add(int(d))
                if self.match:
                    with open(f"/proc/{d}/cmdline", "rb") as f:
                        if self.match.search(f.read().replace(b"\0", b" ").decode("utf-8", "replace")):
                            out.add(int(d))
            except (OSError, ValueError, IndexError):
                pass
        todo = list(out) + ([self.pid] if self.pid else [])
        seen = set()
        while todo:
            p = todo.pop()
            if p in seen or p == me:
                continue
            seen.add(p)
            todo += kids.get(p, [])
        return seen

    def memory(self):
        pss = rss = n = 0
        for p in self.pids():
            try:
                with open(f"/proc/{p}/smaps_rollup") as f:
                    for line in f:
                        if line.startswith("Pss:"):
                            pss += int(line.split()[1])
                        elif line.startswith("Rss:"):
                            rss += int(line.split()[1])
                n += 1
            except OSError:
                pass
        return {"processes": n, "pss_mib": round(pss / 1024, 1), "rss_mib": round(rss / 1024, 1)}

    def cpu(self):
        total = 0
        for p in self.pids():
            try:
                with open(f"/proc/{p}/stat", "rb") as f:
                    v = f.read().rsplit(b")", 1)[1].split()
                total += sum(int(x) for x in v[11:15])     # own + waited-for children
            except (OSError, ValueError, IndexError):
                pass
        return total / self.hz


def busy_cpu():
    """CPU seconds the whole machine has been busy: shows what else ran during a block."""
    with open("/proc/stat") as f:
        v = [int(x) for x in f.readline().split()[1:9]]
    return (sum(v) - v[3] - v[4]) / os.sysconf("SC_CLK_TCK")


def mem_available_mib():
    with open("/proc/meminfo") as f:
        for line in f:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 1024


class MemWatch(threading.Thread):
    """Lowest MemAvailable while a block runs (cheap: one small read each 50 ms)."""

    def __init__(self):
        super().__init__(daemon=True)
        self.base = self.low = mem_available_mib()
        self.done = threading.Event()

    def run(self):
        while not self.done.wait(.05):
            self.low = min(self.low, mem_available_mib())

    def stop(self):
        self.done.set()
        self.join()
        return round(self.base - self.low, 1)


# ------------------------------------------------------------- lean HTTP client
class HTTP(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection, one request in flight."""
    __slots__ = ("t", "buf", "fut", "status", "need", "hdr", "chunked", "t_first", "body", "on_first")

    def __init__(self):
        self.t = self.fut = None
        self.buf = bytearray()
        self.reset()

    def reset(self):
        self.status, self.need, self.hdr, self.chunked, self.t_first = 0, -1, b"", False, 0.0
        self.body = bytearray()
        self.on_first = None

    def connection_made(self, transport):
        self.t = transport

    def connection_lost(self, exc):
        self.t = None
        if self.fut and not self.fut.done():
            if self.status and self.need == -2:       # body ended by close
                self._finish()
            else:
                self.fut.set_exception(exc or ConnectionError("closed by server"))

    def data_received(self, data):
        self.buf += data
        while self.fut is not None:
            if not self.status:
                i = self.buf.find(b"\r\n\r\n")
                if i < 0:
                    return
                self.hdr = bytes(self.buf[:i + 2])
                del self.buf[:i + 4]
                status = int(self.hdr[9:12])
                if status == 100:
                    continue
                self.status = status
                low = self.hdr.lower()
                j = low.find(b"\r\ncontent-length:")
                if j >= 0:
                    self.need = int(low[j + 17:low.find(b"\r\n", j + 2)])
                elif b"\r\ntransfer-encoding: chunked" in low:
                    self.chunked = True
                elif status in (204, 304):
                    self.need = 0
                else:
                    self.need = -2
            if self.chunked:
                if not self._chunks():
                    return
                return self._finish()
            if self.buf:
                if not self.t_first:
                    self.t_first = NOW()
                self.body += self.buf
                self.buf.clear()
            if self.need >= 0 and len(self.body) >= self.need:
                self.buf += self.body[self.need:]
                del self.body[self.need:]
                return self._finish()
            return

    def _chunks(self):
        while True:
            i = self.buf.find(b"\r\n")
            if i < 0:
                return False
            n = int(bytes(self.buf[:i]).split(b";")[0], 16)
            if len(self.buf) < i + 2 + n + 2:
                return False
            if n and not self.t_first:
                self.t_first = NOW()
            self.body += self.buf[i + 2:i + 2 + n]
            del self.buf[:i + n + 4]
            if n == 0:
                return True

    def _finish(self):
        f, self.fut = self.fut, None
        close = b"connection: close" in self.hdr.lower()
        if close and self.t:
            self.t.close()
            self.t = None
        if not f.done():
            f.set_result((self.status, self.hdr, bytes(self.body)))


class Client:
    def __init__(self, endpoint, region, sign=True, raw_path=None, access="test", secret="test"):
        u = urllib.parse.urlsplit(endpoint)
        self.scheme, self.host, self.port = u.scheme, u.hostname, u.port or (443 if u.scheme == "https" else 80)
        self.base, self.region, self.sign, self.raw_path = endpoint.rstrip("/"), region, sign, raw_path
        self.creds = botocore.credentials.Credentials(access, secret)
        self.cache = {}

    def invoke_path(self, name):
        if self.raw_path:
            return self.raw_path.replace("{name}", name)
        return f"/2015-03-31/functions/{name}/invocations"

    def request(self, path, payload, headers=(), method="POST", service="lambda"):
        """The request's bytes, signed at most once a minute for the same content."""
        key = (path, payload, tuple(headers), method)
        hit = self.cache.get(key)
        if hit and NOW() - hit[0] < 60:
            return hit[1]
        h = {"Content-Type": "application/json", **dict(headers)}
        if self.sign:
            r = botocore.awsrequest.AWSRequest(method=method, url=self.base + path, data=payload, headers=h)
            botocore.auth.SigV4Auth(self.creds, service, self.region).add_auth(r)
            h = dict(r.headers.items())
        else:
            h["Authorization"] = (f"AWS4-HMAC-SHA256 Credential=test/20260101/{self.region}/{service}/aws4_request, "
                                  "SignedHeaders=host;x-amz-date, Signature=0")
            h["X-Amz-Date"] = "20260101T000000Z"
        h["Host"] = f"{self.host}:{self.port}"
        h["Content-Length"] = str(len(payload))
        raw = (f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in h.items()) + "\r\n").encode() + payload
        if len(self.cache) > 10000:
            self.cache.clear()
        self.cache[key] = (NOW(), raw)
        return raw

    async def connect(self):
        loop = asyncio.get_running_loop()
        _, p = await loop.create_connection(HTTP, self.host, self.port, ssl=True if self.scheme == "https" else None)
        return p

    async def send(self, conn, raw, timeout=60):
        """Returns (status, headers, body, connection); reconnects once when the server had closed."""
        for attempt in (0, 1):
            fresh = conn is None or conn.t is None
            if fresh:
                conn = await self.connect()
            conn.reset()
            conn.fut = asyncio.get_running_loop().create_future()
            conn.t.write(raw)
            try:
                s, h, b = await asyncio.wait_for(conn.fut, timeout) if timeout else await conn.fut
                return s, h, b, conn
            except ConnectionError:
                if attempt or fresh:
                    raise
                conn = None


def ok(status, hdr):
    return status == 200 and b"\r\nx-amz-function-error" not in hdr.lower()


# -------------------------------------------------------------- completion count
class Counter:
    """Counts ids that handlers report, over TCP (default) or by an append-only file."""

    def __init__(self, host, bind, path=None, logs=None):
        self.host, self.bind, self.path, self.logs = host, bind, path, logs
        self.reset()
        self.server = None

    def reset(self):
        self.seen, self.total, self.t_last, self.pos, self.group, self.ids = set(), 0, 0.0, 0, None, set()
        if self.path:
            open(self.path, "w").close()
            os.chmod(self.path, 0o666)

    async def start(self):
        if not self.path and not self.logs:
            self.server = await asyncio.start_server(self._conn, self.bind, 0, backlog=4096)
            self.port = self.server.sockets[0].getsockname()[1]

    def env(self):
        if self.logs:
            return {"COUNT_LOG": "1"}
        return {"COUNT_FILE": self.path} if self.path else {"COUNT_HOST": self.host, "COUNT_PORT": str(self.port)}

    def _add(self, data, at=None):
        ids = data.decode().split()
        self.total += len(ids)
        self.seen.update(ids)
        if ids:
            self.t_last = max(self.t_last, at or NOW())

    async def _conn(self, r, w):
        try:
            self._add(await r.read())
            w.write(b"1")
            await w.drain()
        finally:
            w.close()

    def _read_logs(self):
        """What handlers printed, read the way any client of the platform would: FilterLogEvents."""
        try:
            pages = self.logs.get_paginator("filter_log_events").paginate(
                logGroupName=self.group, startTime=self.pos, filterPattern="counted")
            for page in pages:
                for e in page["events"]:
                    key = e.get("eventId") or (e["timestamp"], e["message"])
                    if key not in self.ids:
                        self.ids.add(key)
                        # When the handler wrote it, not when we came to read it.
                        self._add(e["message"].split(None, 1)[1].encode(), NOW() - (time.time() - e["timestamp"] / 1000))
                        self.pos = max(self.pos, e["timestamp"] - 2000)
        except self.logs.exceptions.ResourceNotFoundException:
            pass

    async def wait(self, n, timeout):
        end, last, quiet = NOW() + timeout, -1, NOW()
        while NOW() < end and len(self.seen) < n:
            if self.path:
                with open(self.path, "rb") as f:
                    f.seek(self.pos)
                    d = f.read()
                    self.pos += len(d)
                self._add(d)
            if self.logs:
                await asyncio.to_thread(self._read_logs)
            if len(self.seen) != last:
                last, quiet = len(self.seen), NOW()
            elif NOW() - quiet > 30:
                break
            await asyncio.sleep(.2 if self.logs else .01)      # each reading of a log costs the server something
        return len(self.seen)


# ------------------------------------------------------------------------ bench
class Bench:
    def __init__(self, a):
        self.a = a
        self.c = Client(a.endpoint, a.region, not a.dummy_auth, a.raw_path)
        self.tag = uuid.uuid4().hex[:6]
        self.raw = bool(a.raw_path)
        self.made, self.out = [], {}
        self.tree = None
        cfg = botocore.config.Config(retries={"max_attempts": 1}, read_timeout=180, connect_timeout=5,
                                     max_pool_connections=16, parameter_validation=False)
        kw = dict(endpoint_url=a.endpoint, region_name=a.region, aws_access_key_id="test",
                  aws_secret_access_key="test", config=cfg)
        self.lam, self.sqs = boto3.client("lambda", **kw), boto3.client("sqs", **kw)
        logs = boto3.client("logs", **kw) if a.counter_logs else None
        self.counter = Counter(a.counter_host, a.counter_bind, a.counter_file, logs)

    # -- helpers
    def note(self, *x):
        print(time.strftime("%H:%M:%S"), *x, file=sys.stderr, flush=True)

    def meter(self):
        r = resource.getrusage(resource.RUSAGE_SELF)
        return r.ru_utime + r.ru_stime, (self.tree.cpu() if self.tree else None), busy_cpu()

    def metered(self, before, d):
        c, s, b = self.meter()
        d["client_cpu_s"] = round(c - before[0], 3)
        d["machine_cpu_s"] = round(b - before[2], 2)
        if s is not None:
            d["server_cpu_s"] = round(s - before[1], 3)
        return d

    def create(self, name, code, runtime=None, handler="index.handler", memory=None, timeout=60, env=None, layers=None):
        kw = dict(FunctionName=name, Runtime=runtime or self.a.runtime, Handler=handler,
                  Role="arn:aws:iam::000000000000:role/bench", Code={"ZipFile": code}, Timeout=timeout,
                  MemorySize=memory or self.a.memory)
        if env:
            kw["Environment"] = {"Variables": env}
        if layers:
            kw["Layers"] = layers
        t = NOW()
        self.lam.create_function(**kw)
        self.made.append(name)
        t_ack = NOW() - t
        while NOW() - t < 180:
            c = self.lam.get_function_configuration(FunctionName=name)
            if c.get("State", "Active") == "Active":
                return t_ack * 1e3, (NOW() - t) * 1e3
            if c.get("State") == "Failed":
                raise RuntimeError(c.get("StateReason"))
            time.sleep(.01)
        raise TimeoutError(f"{name} never Active")

    def py(self, kind, text, **kw):
        """A function for the scenario; with --raw-path or --existing nothing is created."""
        if self.a.existing or self.raw:
            return self.a.existing or "function"
        name = f"bench-{kind}-{self.tag}"
        if name not in self.made:
            self.create(name, make_zip({"index.py": text}), **kw)
        return name

    async def one(self, conn, name, event, headers=(), timeout=120):
        raw = self.c.request(self.c.invoke_path(name), json.dumps(event).encode(), headers)
        t = NOW()
        s, h, b, conn = await self.c.send(conn, raw, timeout)
        return (NOW() - t) * 1e3, s, h, b, conn

    # -- scenarios
    async def cold_of(self, text, runtime, fname, handler, n, files=None, layers=None, memory=None, check=None):
        code = make_zip({fname: text}) if files is None else files
        names, ack, active = [], [], []
        for i in range(n):
            name = f"bench-c{uuid.uuid4().hex[:8]}"
            x, y = await asyncio.to_thread(self.create, name, code, runtime, handler, memory, 60, None, layers)
            names.append(name); ack.append(x); active.append(y)
        await asyncio.sleep(self.a.settle)
        cold, second, errors, first_err = [], [], 0, None
        conn = await self.c.connect()
        m = self.meter()
        for name in names:
            ms, s, h, b, conn = await self.one(conn, name, {"n": 1})
            if ok(s, h) and (check is None or check in b):
                cold.append(ms)
            else:
                errors += 1
                first_err = first_err or f"{s} {b[:300]!r}"
            ms, s, h, b, conn = await self.one(conn, name, {"n": 2})
            if ok(s, h):
                second.append(ms)
        d = {"cold": summary(cold), "second": summary(second), "create_ack": summary(ack),
             "create_active": summary(active), "errors": errors}
        if first_err:
            d["first_error"] = first_err
        self.metered(m, d)
        for name in names:
            await asyncio.to_thread(self.drop, name)
        return d

    def drop(self, name):
        try:
            self.lam.delete_function(FunctionName=name)
        except botocore.exceptions.ClientError:
            pass
        if name in self.made:
            self.made.remove(name)

    async def s_cold(self):
        if self.a.cold_pattern:         # functions that exist already and were never invoked
            cold, second, errors = [], [], 0
            conn = await self.c.connect()
            m = self.meter()
            for i in range(1, self.a.cold_n + 1):
                name = self.a.cold_pattern.replace("{i}", str(i))
                for out in (cold, second):
                    ms, s, h, b, conn = await self.one(conn, name, {"n": 1})
                    if ok(s, h):
                        out.append(ms)
                    else:
                        errors += 1
            return self.metered(m, {"cold": summary(cold), "second": summary(second), "errors": errors})
        return await self.cold_of(HELLO_PY, None, "index.py", "index.handler", self.a.cold_n, check=b"world")

    async def s_node(self):
        d = await self.cold_of(HELLO_JS, self.a.node_runtime, "index.js", "index.handler", self.a.cold_n, check=b"world")
        name = f"bench-node-{self.tag}"
        await asyncio.to_thread(self.create, name, make_zip({"index.js": HELLO_JS}), self.a.node_runtime)
        d["warm"] = await self.warm_of(name, 300)
        d["throughput_16"] = await self.load(name, 16, self.a.seconds)
        return d

    async def s_custom(self):
        """Custom runtimes: each --custom NAME=ZIP is a package whose function answers its event."""
        found = {}
        for one in self.a.custom:
            label, _, path = one.partition("=")
            with open(path, "rb") as file:
                code = file.read()
            d = found[label] = await self.cold_of("", "provided.al2023", "", "index.handler", self.a.cold_n,
                                                  files=code, check=b'"n"')
            name = f"bench-{label}-{self.tag}"
            await asyncio.to_thread(self.create, name, code, "provided.al2023")
            d["warm"] = await self.warm_of(name, 300)
            d["throughput"] = {f"c{k}": await self.load(name, k, self.a.seconds) for k in self.a.conns}
        return found

    async def warm_of(self, name, n):
        conn, ms, errors, first_err = await self.c.connect(), [], 0, None
        for i in range(5):
            *_, conn = await self.one(conn, name, {"n": 0})
        m = self.meter()
        for i in range(n):
            x, s, h, b, conn = await self.one(conn, name, {"n": 0})
            if ok(s, h):
                ms.append(x)
            else:
                errors += 1
                first_err = first_err or f"{s} {b[:300]!r}"
        d = self.metered(m, {**summary(ms), "errors": errors})
        if first_err:
            d["first_error"] = first_err
        return d

    async def s_warm(self):
        return await self.warm_of(self.py("hello", HELLO_PY), self.a.warm_n)

    async def load(self, name, conns, seconds):
        raw = self.c.request(self.c.invoke_path(name), b'{"n": 0}')
        ms, errs = [], {}
        cs = await asyncio.gather(*[self.c.connect() for _ in range(conns)])

        async def worker(conn, until):
            while NOW() < until:
                t = NOW()
                try:
                    s, h, b, conn = await self.c.send(conn, raw, 0)
                except (ConnectionError, OSError) as e:
                    errs[type(e).__name__] = errs.get(type(e).__name__, 0) + 1
                    conn = None
                    await asyncio.sleep(.01)
                    continue
                if ok(s, h):
                    ms.append((NOW() - t) * 1e3)
                else:
                    k = f"{s}" if s != 200 else "FunctionError"
                    errs[k] = errs.get(k, 0) + 1
        await asyncio.wait_for(asyncio.gather(*[worker(c, NOW() + min(2, seconds)) for c in cs]), 120)   # ramp
        ms.clear(); errs.clear()
        m, t = self.meter(), NOW()
        await asyncio.wait_for(asyncio.gather(*[worker(c, t + seconds) for c in cs]), seconds + 120)
        el = NOW() - t
        d = self.metered(m, {"per_s": round(len(ms) / el, 1), **summary(ms), "errors": errs, "seconds": round(el, 2)})
        for c in cs:
            if c.t:
                c.t.close()
        return d

    async def s_throughput(self):
        name, d = self.py("hello", HELLO_PY), {}
        for k in self.a.conns:
            d[f"c{k}"] = await self.load(name, k, self.a.seconds)
            self.note("  throughput", k, d[f"c{k}"])
        if self.tree:
            d["memory"] = self.tree.memory()
        return d

    async def one_burst(self, name, n, sleep_s):
        raw = self.c.request(self.c.invoke_path(name), json.dumps({"s": sleep_s}).encode())
        cs = []
        for i in range(0, n, 100):
            cs += await asyncio.gather(*[self.c.connect() for _ in range(min(100, n - i))])
        ms, errs = [], {}
        w = MemWatch(); w.start()
        m, t = self.meter(), NOW()

        async def go(conn):
            t0 = NOW()
            try:
                s, h, b, conn = await self.c.send(conn, raw, self.a.burst_timeout)
                k = None if ok(s, h) else (str(s) if s != 200 else "FunctionError")
            except (ConnectionError, OSError, asyncio.TimeoutError) as e:
                k = type(e).__name__
            if k:
                errs[k] = errs.get(k, 0) + 1
            else:
                ms.append((NOW() - t0) * 1e3)
            if conn and conn.t:
                conn.t.close()
        await asyncio.gather(*[go(c) for c in cs])
        d = {"wall_s": round(NOW() - t, 3), "done": len(ms), "errors": errs, **{k: v for k, v in summary(ms).items() if k != "n"},
             "system_mem_peak_delta_mib": w.stop()}
        return self.metered(m, d)

    async def s_burst(self):
        d = {}
        for n in self.a.burst:
            if self.raw or self.a.existing:
                name = self.a.existing or "function"
            else:
                name = f"bench-burst{n}-{self.tag}"
                await asyncio.to_thread(self.create, name, make_zip({"index.py": SLEEP_PY}))
            await asyncio.sleep(self.a.settle)
            before = self.tree.memory() if self.tree else None
            x = await self.one_burst(name, n, .5)
            r = {"cold": x}
            if self.tree:
                r["memory_before"], r["memory_after"] = before, self.tree.memory()
                k = r["memory_after"]["processes"] - before["processes"]
                if k > 0:
                    r["pss_per_process_mib"] = round((r["memory_after"]["pss_mib"] - before["pss_mib"]) / k, 2)
            r["warm"] = await self.one_burst(name, n, .5)
            d[f"n{n}"] = r
            self.note("  burst", n, r)
            if not (self.raw or self.a.existing):
                await asyncio.to_thread(self.drop, name)
                await asyncio.sleep(self.a.settle)
            if x["done"] < n * .5 or x["wall_s"] > self.a.burst_stop:
                d["stopped"] = f"at {n}: {x['done']} done in {x['wall_s']} s"
                break
        return d

    async def s_import(self):
        ver = self.a.import_python
        if not ver:
            conn = await self.c.connect()
            *_, b, conn = await self.one(conn, self.py("probe", PROBE_PY), {})
            ver = ".".join(map(str, json.loads(b)["py"][:2]))
        with tempfile.TemporaryDirectory() as tmp:
            subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", tmp,
                            "--only-binary=:all:", "--python-version", ver, "--implementation", "cp",
                            "numpy", "pandas"], check=True)
            buf = io.BytesIO()
            with zipfile.ZipFile(buf, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as z:
                for root, dirs, fs in os.walk(tmp):
                    dirs[:] = [x for x in dirs if x not in ("tests", "__pycache__")]
                    for f in fs:
                        p = os.path.join(root, f)
                        z.write(p, "python/" + os.path.relpath(p, tmp))
        blob = buf.getvalue()
        t = NOW()
        arn = (await asyncio.to_thread(lambda: self.lam.publish_layer_version(
            LayerName=f"bench-pandas-{self.tag}", Content={"ZipFile": blob})))["LayerVersionArn"]
        pub = (NOW() - t) * 1e3
        d = await self.cold_of(IMPORT_PY, None, "index.py", "index.handler", self.a.import_n, layers=[arn],
                               memory=1024, check=b"6")
        return {"python": ver, "layer_mib": round(len(blob) / 2**20, 1), "publish_layer_ms": round(pub, 1), **d}

    async def s_async(self):
        n = self.a.async_n
        self.counter.reset()
        name = f"bench-async-{self.tag}"
        self.counter.group = f"/aws/lambda/{name}"
        await asyncio.to_thread(self.create, name, make_zip({"index.py": COUNT_PY}), env=self.counter.env())
        # Each is signed once, as everywhere here, and ahead: what is measured is the server.
        path, kind = self.c.invoke_path(name), (("X-Amz-Invocation-Type", "Event"),)
        todo = iter([self.c.request(path, json.dumps({"id": f"a{i}"}).encode(), kind) for i in range(n)])
        errs, acks = {}, []
        m, t = self.meter(), NOW()

        async def worker():
            conn = await self.c.connect()
            for raw in todo:
                began = NOW()
                s, h, b, conn = await self.c.send(conn, raw, 120)
                ms = (NOW() - began) * 1e3
                if s == 202:
                    acks.append(ms)
                else:
                    errs[str(s)] = errs.get(str(s), 0) + 1
        await asyncio.gather(*[worker() for _ in range(16)])
        t_ack = NOW() - t
        got = await self.counter.wait(len(acks), self.a.drain_timeout)
        d = {"n": n, "ack_per_s": round(len(acks) / t_ack, 1), "ack": summary(acks), "errors": errs, "executed": got,
             "executed_total": self.counter.total, "all_executed_s": round(self.counter.t_last - t, 3) if got else None}
        d["executed_per_s"] = round(got / d["all_executed_s"], 1) if got else 0
        return self.metered(m, d)

    async def s_sqs(self):
        n = self.a.sqs_n
        self.counter.reset()
        name, q = f"bench-sqs-{self.tag}", f"bench-q-{self.tag}"
        self.counter.group = f"/aws/lambda/{name}"
        await asyncio.to_thread(self.create, name, make_zip({"index.py": COUNT_PY}), env=self.counter.env())
        url = self.sqs.create_queue(QueueName=q, Attributes={"VisibilityTimeout": "120"})["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        esm = self.lam.create_event_source_mapping(EventSourceArn=arn, FunctionName=name, BatchSize=10, Enabled=True,
                                                   FunctionResponseTypes=["ReportBatchItemFailures"])
        end = NOW() + 60
        while NOW() < end and self.lam.get_event_source_mapping(UUID=esm["UUID"]).get("State") not in ("Enabled", None):
            await asyncio.sleep(.1)
        self.sqs.send_message(QueueUrl=url, MessageBody="warmup")
        t = NOW()
        await self.counter.wait(1, 30)
        first = self.counter.t_last - t if self.counter.t_last else None
        kept = self.counter.group, self.counter.pos, self.counter.ids  # the warm-up's line is not counted again
        self.counter.reset()
        if self.counter.logs:
            self.counter.group, self.counter.pos, self.counter.ids = kept
        m, t = self.meter(), NOW()

        def send(k):
            self.sqs.send_message_batch(QueueUrl=url, Entries=[
                {"Id": str(i), "MessageBody": f"m{k * 10 + i}"} for i in range(10)])
        from concurrent.futures import ThreadPoolExecutor
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(8) as ex:
            await asyncio.gather(*[loop.run_in_executor(ex, send, k) for k in range(n // 10)])
        t_send = NOW() - t
        got = await self.counter.wait(n, self.a.drain_timeout)
        d = {"n": n, "first_message_ms": round(first * 1e3, 1) if first else None, "send_per_s": round(n / t_send, 1),
             "consumed": got, "consumed_total": self.counter.total,
             "all_consumed_s": round(self.counter.t_last - t, 3) if got else None}
        d["consumed_per_s"] = round(got / d["all_consumed_s"], 1) if got else 0
        self.metered(m, d)
        self.lam.delete_event_source_mapping(UUID=esm["UUID"])
        self.sqs.delete_queue(QueueUrl=url)
        return d

    async def s_stream(self):
        """Time to the first event of InvokeWithResponseStream against a 300 ms gap, then 20 MiB."""
        name = f"bench-stream-{self.tag}"
        await asyncio.to_thread(self.create, name, make_zip({"index.js": STREAM_JS}), self.a.node_runtime)
        path = f"/2021-11-15/functions/{name}/response-streaming-invocations"
        conn, d = await self.c.connect(), {}
        for label, event, reps in (("warmup", {"gap_ms": 1}, 1), ("gap300", {"gap_ms": 300}, 5), ("bytes20m", {"gap_ms": 1, "bytes": 20 << 20}, 3)):
            first, total, size, status = [], [], 0, 0
            for _ in range(reps):
                raw = self.c.request(path, json.dumps(event).encode())
                t = NOW()
                status, h, b, conn = await self.c.send(conn, raw, 60)
                if status != 200 or b"first" not in b or (NOW() - t) * 1e3 < event["gap_ms"]:
                    return {"supported": False, "error": f"{status} {b[:400]!r}"}
                first.append((conn.t_first - t) * 1e3); total.append((NOW() - t) * 1e3); size = len(b)
            d[label] = {"first_byte": summary(first), "total": summary(total), "bytes": size}
            if label == "bytes20m":
                d[label]["mib_per_s"] = round(size / 2**20 / (statistics.median(total) / 1e3), 1)
        d["supported"] = d["gap300"]["first_byte"]["p50_ms"] < 150     # else the response was buffered whole
        return d

    async def s_firstbyte(self):
        """Time to the first event of InvokeWithResponseStream from a warm Python handler that yields, then 20 MiB."""
        name = f"bench-yield-{self.tag}"
        await asyncio.to_thread(self.create, name, make_zip({"index.py": YIELD_PY}))
        path = f"/2021-11-15/functions/{name}/response-streaming-invocations"
        conn, d = await self.c.connect(), {}
        for label, event, reps in (("warmup", {}, 20), ("first", {"gap_ms": 20}, 100), ("bytes20m", {"bytes": 20 << 20}, 3)):
            first, total, size = [], [], 0
            for _ in range(reps):
                raw = self.c.request(path, json.dumps(event).encode())
                t = NOW()
                status, h, b, conn = await self.c.send(conn, raw, 60)
                if status != 200 or b"first" not in b or b"ErrorCode" in b[-400:]:
                    return {"supported": False, "error": f"{status} {b[:400]!r}"}
                first.append((conn.t_first - t) * 1e3); total.append((NOW() - t) * 1e3); size = len(b)
            d[label] = {"first_byte": summary(first), "total": summary(total), "bytes": size}
            if label == "bytes20m":
                d[label]["mib_per_s"] = round(size / 2**20 / (statistics.median(total) / 1e3), 1)
        d["supported"] = d["first"]["first_byte"]["p50_ms"] < 20      # else the response was buffered whole
        return d

    async def s_memory(self):
        """PSS that K functions with one warm environment each add."""
        if not self.tree:
            return {"skipped": "needs --pid or --start"}
        k, names = self.a.memory_n, []
        before = self.tree.memory()
        conn = await self.c.connect()
        for i in range(k):
            name = f"bench-m{i}-{self.tag}"
            await asyncio.to_thread(self.create, name, make_zip({"index.py": HELLO_PY}))
            names.append(name)
            *_, conn = await self.one(conn, name, {"n": 1})
        await asyncio.sleep(1)
        after = self.tree.memory()
        for name in names:
            await asyncio.to_thread(self.drop, name)
        return {"functions": k, "before": before, "after": after,
                "pss_per_warm_function_mib": round((after["pss_mib"] - before["pss_mib"]) / k, 2)}

    # -- run
    async def wait_ready(self, proc, t0):
        path = self.a.ready_path or ("/" if self.raw else "/2015-03-31/functions/")
        raw = self.c.request(path, b"", method="GET")
        while NOW() - t0 < self.a.start_timeout:
            if proc.poll() is not None:
                raise RuntimeError(f"--start command ended with {proc.returncode}")
            try:
                s, *_ , conn = await self.c.send(None, raw, 5)
                if conn.t:
                    conn.t.close()
                if s < 500:
                    return (NOW() - t0) * 1e3
            except (OSError, asyncio.TimeoutError, ConnectionError):
                pass
            await asyncio.sleep(.005)
        raise TimeoutError("never ready")

    async def run(self):
        a, proc = self.a, None
        self.out = {"label": a.label, "endpoint": re.sub(r"//[^/:]+", "//HOST", a.endpoint), "date": time.strftime("%Y-%m-%d"),
                    "cores": os.cpu_count(), "kernel": os.uname().release, "uvloop": bool(uvloop), "scenarios": {}}
        try:
            if a.start:
                tag = f"LAMBENT_BENCH_TAG={uuid.uuid4().hex}"
                k, v = tag.split("=")
                t0 = NOW()
                log = open(a.start_log, "wb") if a.start_log else subprocess.DEVNULL
                proc = subprocess.Popen(shlex.split(a.start), env={**os.environ, k: v}, start_new_session=True,
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
                autogroup(proc.pid, a.nice)
                ready = await self.wait_ready(proc, t0)
                self.tree = Tree(proc.pid, tag.encode(), a.match)
                await asyncio.sleep(1.5)
                self.out["idle"] = {"start_to_ready_ms": round(ready, 1), **self.tree.memory()}
                self.note("idle", self.out["idle"])
            elif a.pid or a.match:
                self.tree = Tree(a.pid, None, a.match)
                self.out["idle"] = self.tree.memory()
            await self.counter.start()
            for s in a.scenarios:
                self.note("scenario", s)
                t = NOW()
                try:
                    r = await asyncio.wait_for(getattr(self, "s_" + s)(), a.scenario_timeout)
                except Exception as e:      # a peer that lacks a feature is a result, not a crash
                    r = {"failed": f"{type(e).__name__}: {e}"[:500]}
                r["took_s"] = round(NOW() - t, 1)
                self.out["scenarios"][s] = r
                self.note("  ->", json.dumps(r)[:600])
        finally:
            for name in list(self.made):
                try:
                    await asyncio.to_thread(self.drop, name)
                except Exception:
                    pass
            if proc and proc.poll() is None:
                os.killpg(proc.pid, signal.SIGTERM)
                try:
                    proc.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(proc.pid, signal.SIGKILL)
            if a.json:
                with open(a.json, "w") as f:
                    json.dump(self.out, f, indent=1)
                    f.write("\n")
        return self.out


def autogroup(pid, nice):
    """With sched_autogroup a session's nice value counts only inside it: set the group's own."""
    try:
        if nice:
            with open(f"/proc/{pid}/autogroup", "w") as f:
                f.write(str(nice))
    except OSError:
        pass


def ints(s):
    return [int(x) for x in s.split(",") if x]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--endpoint", required=True)
    p.add_argument("--scenarios", default="cold,warm,throughput,burst,async,sqs", help="of " + ",".join(SCENARIOS))
    p.add_argument("--json", help="write the results here")
    p.add_argument("--label", default="")
    p.add_argument("--start", metavar="CMD", help="start the server with CMD, time it, meter it, stop it")
    p.add_argument("--start-log", metavar="FILE")
    p.add_argument("--start-timeout", type=float, default=90)
    p.add_argument("--ready-path", help="GET this until it answers below 500")
    p.add_argument("--pid", type=int, help="meter this process tree")
    p.add_argument("--nice", type=int, default=0, help="run client and --start server at this nice value (a shared, noisy machine)")
    p.add_argument("--match", help="also meter processes whose command line matches this pattern")
    p.add_argument("--raw-path", help="POST here instead of the Lambda invoke path ({name} is replaced)")
    p.add_argument("--existing", help="invoke this function instead of creating one (warm, throughput, burst)")
    p.add_argument("--cold-pattern", help="cold: invoke existing functions of this name, {i} = 1..cold-n")
    p.add_argument("--dummy-auth", action="store_true", help="send an Authorization header that is not a signature")
    p.add_argument("--region", default="us-east-1")
    p.add_argument("--runtime", default="python3.12")
    p.add_argument("--node-runtime", default="nodejs22.x")
    p.add_argument("--custom", action="append", default=[], metavar="NAME=ZIP")
    p.add_argument("--memory", type=int, default=128, help="MemorySize")
    p.add_argument("--cold-n", type=int, default=20)
    p.add_argument("--warm-n", type=int, default=500)
    p.add_argument("--seconds", type=float, default=5)
    p.add_argument("--conns", type=ints, default=[16, 64])
    p.add_argument("--burst", type=ints, default=[32, 100, 500, 1000])
    p.add_argument("--burst-timeout", type=float, default=60, help="seconds one burst request may take")
    p.add_argument("--burst-stop", type=float, default=20, help="go no higher after a burst that took longer")
    p.add_argument("--import-n", type=int, default=5)
    p.add_argument("--import-python", help="Python version of the wheels (default: ask the platform)")
    p.add_argument("--async-n", type=int, default=2000)
    p.add_argument("--sqs-n", type=int, default=2000)
    p.add_argument("--memory-n", type=int, default=50)
    p.add_argument("--drain-timeout", type=float, default=120)
    p.add_argument("--scenario-timeout", type=float, default=300)
    p.add_argument("--settle", type=float, default=.5)
    p.add_argument("--counter-host", default="127.0.0.1", help="where handlers reach this harness")
    p.add_argument("--counter-bind", default="127.0.0.1")
    p.add_argument("--counter-logs", action="store_true", help="handlers print, the harness reads FilterLogEvents")
    p.add_argument("--counter-file", help="handlers append to this file instead")
    a = p.parse_args()
    a.scenarios = [s for s in a.scenarios.split(",") if s]
    bad = [s for s in a.scenarios if s not in SCENARIOS]
    if bad:
        p.error(f"unknown scenario {bad}")
    try:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384), hard))
    except ValueError:
        pass
    if a.nice:
        os.nice(a.nice)
        autogroup(os.getpid(), a.nice)
    if uvloop:
        uvloop.install()
    out = asyncio.run(Bench(a).run())
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
