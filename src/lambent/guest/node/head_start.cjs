'use strict';
// Node.js was started before its function is known: load what any function needs, then sleep until the platform says
// which one it is, and be as if started for it: variables in their order, working folder, what /proc shows.

const fs = require('node:fs');

const ROOM = 'LAMBENT_HEAD_START'; // says that it is so, and holds the place for the function's variables
const CONTROL = 3; // the platform's socket; nobody else's program has it
const HEAD_BYTES = 5;
const START_FIELD = 50; // env_start of proc(5)'s stat, counted from 1; env_end follows

const isEarly = () => ROOM in process.env;

/** Returns when there is a function. The platform ending first ends this process. */
function wait() {
  for (const name of ['node:stream', 'node:util', './streams.cjs']) require(name);
  const shown = variablesShown();
  fs.writeSync(CONTROL, '\x01');
  const { environment } = JSON.parse(received(received(HEAD_BYTES).readUInt32BE(0)).toString());
  const startedLate = process.uptime();
  fs.closeSync(CONTROL);
  setVariables(environment);
  shown?.become(environment);
  process.chdir(environment.LAMBDA_TASK_ROOT);
  const { uptime } = process;
  process.uptime = () => uptime() - startedLate;
}

function received(length) {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; ) {
    const count = fs.readSync(CONTROL, bytes, at, length - at, null);
    if (count === 0) process.exit(0);
    at += count;
  }
  return bytes;
}

/** Those that were there and are the first ones still stay as they are, also in memory: see `variablesShown`. */
function setVariables(environment) {
  const wanted = Object.entries(environment);
  const there = Object.keys(process.env);
  let same = 0;
  while (there[same] === wanted[same]?.[0] && process.env[there[same]] === wanted[same][1]) same += 1;
  for (const name of there.slice(same)) delete process.env[name];
  for (const [name, value] of wanted.slice(same)) process.env[name] = value;
}

/**
 * The place of the variables in /proc/self/environ: { become(environment) } writes those there that would have been,
 * had they been known at the start. The C library's own list points elsewhere by then, but for the first ones, whose
 * bytes do not change.
 */
function variablesShown() {
  try {
    const stat = fs.readFileSync('/proc/self/stat', 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // from the third on
    const [start, end] = fields.slice(START_FIELD - 3, START_FIELD - 1).map(Number);
    const bytes = Buffer.alloc(end - start);
    const memory = fs.openSync('/proc/self/mem', 'r+');
    return {
      become(environment) {
        let text = '';
        for (const name in environment) text += `${name}=${environment[name]}\0`;
        bytes.write(text);
        fs.writeSync(memory, bytes, 0, bytes.length, start);
        fs.closeSync(memory);
      },
    };
  } catch {
    return null; // some kernels let nobody write there; only whoever reads /proc instead of process.env can tell
  }
}

module.exports = { isEarly, wait };
