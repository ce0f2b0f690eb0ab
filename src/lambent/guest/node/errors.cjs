'use strict';
// What a failure looks like to the platform and in the log.
// Source: the shapes of AWS's Node.js runtime: { errorType, errorMessage, trace }.

class RuntimeFailure extends Error {
  constructor(kind, message) {
    super(message);
    this.name = `Runtime.${kind}`;
  }
}

class UnhandledPromiseRejection extends RuntimeFailure {
  constructor(reason, promise) {
    super('UnhandledPromiseRejection', reason);
    this.reason = reason;
    this.promise = promise;
  }
}

// Header values are what the error type becomes, so no control character may be in it.
const printable = (text) => (typeof text === 'string' ? text.replace(/\x7f/g, '%7F') : text);

const isError = (value) =>
  value instanceof Error ||
  (value !== null &&
    typeof value === 'object' &&
    ['name', 'message', 'stack'].every((key) => typeof value[key] === 'string' && value[key]));

/** The document that the caller of the function gets. */
function document(error) {
  try {
    if (isError(error)) {
      return {
        errorType: printable(error.name),
        errorMessage: printable(error.message),
        trace: printable(error.stack).split('\n'),
      };
    }
    return { errorType: typeof error, errorMessage: error.toString(), trace: [] };
  } catch {
    return {
      errorType: 'handled',
      errorMessage:
        'callback called with Error argument, but there was a problem while retrieving one or more of its message, ' +
        'name, and stack',
    };
  }
}

/** The same for a line of the log, with whatever else the error carries, and those inside it. */
function described(error) {
  const expanded = (_key, value) =>
    value instanceof Error
      ? {
          errorType: value.name,
          errorMessage: value.message,
          code: value.code,
          ...value,
          ...(typeof value.stack === 'string' ? { stack: value.stack.split('\n') } : {}),
        }
      : value;
  try {
    return JSON.stringify(error, expanded);
  } catch {
    return JSON.stringify(document(error));
  }
}

/** X-Ray's cause: where it happened. */
function cause(error) {
  try {
    const frames = printable(error.stack ?? '').split('\n').slice(1).map(frame);
    return JSON.stringify({
      working_directory: process.cwd(),
      exceptions: [{ type: printable(error.name), message: printable(error.message), stack: frames }],
      paths: [...new Set(frames.map((one) => one.path))],
    });
  } catch {
    return '';
  }
}

function frame(text) {
  const [, label, where] = /^\s*at (?:(.*) )?\(?(.*?)\)?$/.exec(text) ?? [null, null, text.trim()];
  const [path, line] = where.split(':');
  return { path, line: parseInt(line, 10), label: label ?? 'anonymous' };
}

module.exports = { RuntimeFailure, UnhandledPromiseRejection, document, described, cause };
