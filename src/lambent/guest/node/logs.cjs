'use strict';
// The console of a function: each call is one event of the log, framed, whatever lines it has.
// Framing and formats are those of AWS's runtimes: type (0xA55A0003), length, microseconds since the epoch, text.

const fs = require('node:fs');
const { described } = require('./errors.cjs');

const TEXT_FRAME = 0xa55a0003;
const LEVELS = { trace: 1, debug: 2, info: 3, log: 3, warn: 4, error: 5, fatal: 6 };
const NAMES = ['', 'TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];
const FORMER_CONSOLE_IDS = [Symbol.for('aws.lambda.runtime.requestId'), Symbol.for('aws.lambda.runtime.tenantId')];

let isJson = false;

let util; // takes a millisecond to load; most functions log later, if at all
const format = (...values) => (util ??= require('node:util')).format(...values);

/** Which invocation the lines belong to; where AWS's own libraries look it up. */
function setCurrent(requestId, tenantId) {
  globalThis[FORMER_CONSOLE_IDS[0]] = requestId;
  globalThis[FORMER_CONSOLE_IDS[1]] = tenantId;
}

function write(text, now) {
  const body = Buffer.from(text);
  const bytes = Buffer.allocUnsafe(16 + body.length);
  bytes.writeUInt32BE(TEXT_FRAME, 0);
  bytes.writeUInt32BE(body.length, 4);
  bytes.writeBigUInt64BE(BigInt(now.valueOf()) * 1000n, 8);
  body.copy(bytes, 16);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(1, bytes, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') return; // nobody reads the log any more
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1); // the pipe is full
    }
  }
}

function textLine(level, now, values) {
  return `${now.toISOString()}\t${globalThis[FORMER_CONSOLE_IDS[0]]}\t${NAMES[level]}\t${format(...values)}\n`;
}

const withStack = (_key, value) =>
  value instanceof Error
    ? {
        errorType: value.constructor?.name ?? 'UnknownError',
        errorMessage: value.message,
        stackTrace: typeof value.stack === 'string' ? value.stack.split('\n') : value.stack,
        ...value,
      }
    : value;

function jsonLine(level, now, values) {
  const line = { timestamp: now.toISOString(), level: NAMES[level], requestId: globalThis[FORMER_CONSOLE_IDS[0]] };
  const tenantId = globalThis[FORMER_CONSOLE_IDS[1]];
  if (tenantId !== undefined && tenantId !== null) line.tenantId = tenantId;
  if (values.length === 1) {
    try {
      return JSON.stringify({ ...line, message: values[0] }, withStack);
    } catch {
      return JSON.stringify({ ...line, message: format(values[0]) });
    }
  }
  const error = values.find((value) => value instanceof Error);
  const fields = error ? { ...withStack('', error) } : {};
  const { errorType, errorMessage, stackTrace } = fields;
  return JSON.stringify({ ...line, message: format(...values), ...(error && { errorType, errorMessage, stackTrace }) });
}

/** From now on `console` writes events, from AWS_LAMBDA_LOG_LEVEL upwards. */
function patchConsole() {
  isJson = process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === 'JSON';
  const least = Math.max(1, NAMES.indexOf(process.env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase() ?? 'TRACE'));
  for (const [name, level] of Object.entries(LEVELS)) {
    console[name] = (...values) => {
      if (level < least) return;
      const now = new Date();
      write(isJson ? jsonLine(level, now, values) : textLine(level, now, values), now);
    };
  }
}

/** An error of the function as AWS's runtime puts it. */
function logError(what, error) {
  const asError = error instanceof Error ? error : new Error(error);
  if (isJson) console.error(asError);
  else console.error(what, `\t${described(asError)}`);
}

module.exports = { patchConsole, setCurrent, logError };
