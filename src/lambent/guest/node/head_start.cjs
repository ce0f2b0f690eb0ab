'use strict';
// Node.js was started before its function is known: load what any function needs, then sleep until the platform says
// which one it is, and be as if started for it: variables in their order, working folder, what /proc shows.

const fs = require('node:fs');

const CONTROL = 3; // the platform's socket; nobody else's program has it
const HEAD_BYTES = 5;
const START_FIELD = 50; // env_start of proc(5)'s stat, counted from 1; env_end follows

/** Returns when there is a function. The platform ending first ends this process. */
function wait() {
  for (const name of ['node:net', 'node:stream', 'node:util', 'node:timers', './streams.cjs']) require(name);
  fs.writeSync(CONTROL, '\x01');
  const { environment } = JSON.parse(received(received(HEAD_BYTES).readUInt32BE(0)).toString());
  const startedLate = process.uptime();
  fs.closeSync(CONTROL);
  become(environment);
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

function become(environment) {
  for (const name of Object.keys(process.env)) delete process.env[name];
  for (const [name, value] of Object.entries(environment)) process.env[name] = value;
  process.chdir(environment.LAMBDA_TASK_ROOT);
  try {
    showVariables(environment);
  } catch {
    // Some kernels let nobody write there. Only whoever reads /proc instead of process.env could tell.
  }
}

/** Writes the variables to where they would have been, had they been there at the start: /proc/self/environ. */
function showVariables(environment) {
  const stat = fs.readFileSync('/proc/self/stat', 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // from the third on
  const [start, end] = fields.slice(START_FIELD - 3, START_FIELD - 1).map(Number);
  const text = Object.entries(environment).map(([name, value]) => `${name}=${value}\0`);
  const bytes = Buffer.alloc(end - start);
  if (bytes.write(text.join('')) === 0) return;
  const memory = fs.openSync('/proc/self/mem', 'r+');
  try {
    fs.writeSync(memory, bytes, 0, bytes.length, start);
  } finally {
    fs.closeSync(memory);
  }
}

module.exports = { wait };
