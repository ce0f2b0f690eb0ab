'use strict';
// The Node.js runtime: loads the handler, then runs one invocation after the other.
// Source: AWS Lambda Developer Guide, "Building with Node.js" and "Using the Lambda runtime API".

const errors = require('./errors.cjs');
const headStart = require('./head_start.cjs');
const handlers = require('./handlers.cjs');
const logs = require('./logs.cjs');
const { RuntimeApi } = require('./runtime_api.cjs');

const FIRST_WITHOUT_CALLBACKS = 24;
const NO_CALLBACKS =
  'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to ' +
  'modify this function to use a supported handler signature to use Node.js 24 or later. For more information see ' +
  'https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.';

let streams; // node:stream is loaded by those who stream

const api = new RuntimeApi(process.env.AWS_LAMBDA_RUNTIME_API);
let onEmptyLoop = null; // what happens when nothing is left to do
let tell = (error) => api.failInit(error); // where an error goes that nobody caught

function whenLoopIsEmpty(action) {
  onEmptyLoop = action;
}

process.on('beforeExit', () => {
  const action = onEmptyLoop;
  onEmptyLoop = null;
  action?.();
});

process.on('uncaughtException', (error) => {
  logs.logError('Uncaught Exception', error);
  tell(error).finally(() => process.exit(129));
});

process.on('unhandledRejection', (reason, promise) => {
  const error = new errors.UnhandledPromiseRejection(reason, promise);
  logs.logError('Unhandled Promise Rejection', error);
  tell(error).finally(() => process.exit(128));
});

/** The context object. `getRemainingTimeInMillis` counts real time. */
function contextOf(headers) {
  const env = process.env;
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  return {
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: parsed(headers['lambda-runtime-client-context'], 'ClientContext'),
    identity: parsed(headers['lambda-runtime-cognito-identity'], 'CognitoIdentity'),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    tenantId: headers['lambda-runtime-aws-tenant-id'],
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
}

function parsed(text, name) {
  if (text === undefined) return undefined;
  try {
    // Headers are bytes; what is in them is UTF-8.
    return JSON.parse(Buffer.from(text, 'latin1').toString());
  } catch (error) {
    throw new Error(`Cannot parse ${name} as json: ${error}`);
  }
}

/** Waits for an invocation and says whose it is. */
async function nextInvocation() {
  const { headers, body } = await api.next();
  const id = headers['lambda-runtime-aws-request-id'];
  logs.setCurrent(id, headers['lambda-runtime-aws-tenant-id']);
  const trace = headers['lambda-runtime-trace-id'];
  if (trace) process.env._X_AMZN_TRACE_ID = trace;
  else delete process.env._X_AMZN_TRACE_ID;
  tell = (error) => api.fail(id, error);
  return { id, headers, body };
}

/** One invocation of a handler that returns a promise, calls back, or does neither. */
async function serve(handler) {
  const { id, headers, body } = await nextInvocation();
  let isDone = false;
  let waitsForEmptyLoop = true;

  const finish = (send) => {
    if (isDone) return;
    isDone = true;
    whenLoopIsEmpty(null);
    send().then(schedule, lost);
  };
  const fail = (error) => {
    if (isDone) return;
    logs.logError('Invoke Error', error);
    finish(() => api.fail(id, error));
  };
  const succeed = (result) => {
    let text;
    try {
      text = JSON.stringify(result === undefined ? null : result) ?? 'null';
    } catch {
      fail(new Error('Unable to stringify response body'));
      return;
    }
    finish(() => api.respond(id, text));
  };
  const done = (error, result) => (error === undefined || error === null ? succeed(result) : fail(error));
  let wasCalledBack = false;
  const callback = (error, result) => {
    if (wasCalledBack) return;
    wasCalledBack = true;
    if (error !== undefined && error !== null) fail(error);
    else if (waitsForEmptyLoop) whenLoopIsEmpty(() => setImmediate(succeed, result));
    else succeed(result);
  };

  const context = {
    get callbackWaitsForEmptyEventLoop() {
      return waitsForEmptyLoop;
    },
    set callbackWaitsForEmptyEventLoop(value) {
      waitsForEmptyLoop = value;
    },
    succeed,
    fail: (error) => fail(error ?? 'handled'),
    done,
  };
  whenLoopIsEmpty(() => succeed(null)); // it neither called back nor gave a promise
  try {
    Object.assign(context, contextOf(headers)); // keeps the accessors
    const result = handler(JSON.parse(body), context, callback);
    if (typeof result?.then === 'function') result.then(succeed, context.fail).catch(context.fail);
  } catch (error) {
    callback(error);
  }
}

/** One invocation of a handler made by `awslambda.streamifyResponse`. */
async function serveStreaming(handler, highWaterMark) {
  const { id, headers, body } = await nextInvocation();
  const stream = new streams.ResponseStream(api, id, highWaterMark);
  let waitsForEmptyLoop = true;
  const scheduleNext = () => {
    if (waitsForEmptyLoop) whenLoopIsEmpty(() => setImmediate(schedule));
    else schedule();
  };
  const fail = (error) => {
    logs.logError('Invoke Error', error);
    stream.failWith(error, scheduleNext);
  };
  const context = {
    get callbackWaitsForEmptyEventLoop() {
      return waitsForEmptyLoop;
    },
    set callbackWaitsForEmptyEventLoop(value) {
      waitsForEmptyLoop = value;
    },
  };
  const finished = new Promise((resolve, reject) => {
    stream.once('finish', resolve);
    stream.once('error', reject);
  });
  whenLoopIsEmpty(() => fail('Response stream is not finished.'));
  try {
    Object.assign(context, contextOf(headers));
    const result = handler(JSON.parse(body), stream, context);
    if (typeof result?.then !== 'function') {
      whenLoopIsEmpty(null);
      fail('Streaming does not support non-async handlers.');
      return;
    }
    if ((await result) !== undefined) console.warn('Streaming handlers ignore return values.');
    await finished;
    scheduleNext();
  } catch (error) {
    whenLoopIsEmpty(null);
    fail(error);
  }
}

/** The runtime's version, which is what the function was written for, also where the nearest Node.js runs it. */
function majorVersion() {
  const named = /nodejs(\d+)/.exec(process.env.AWS_EXECUTION_ENV ?? '');
  return Number(named ? named[1] : process.versions.node.split('.')[0]);
}

function lost(error) {
  process.stderr.write(`The Runtime API cannot be reached: ${error}\n`);
  process.exit(1);
}

let schedule;

async function main() {
  logs.patchConsole();
  const root = process.env.LAMBDA_TASK_ROOT ?? process.cwd();
  handlers.defineGlobal({
    from: (stream, prelude) => streams.HttpResponseStream.from(stream, prelude),
  });
  const handler = await handlers.load(root, process.env._HANDLER ?? '');
  const { isStreaming, highWaterMark } = handlers.kindOf(handler);
  if (isStreaming) streams = require('./streams.cjs');
  else if (handler.length >= 3 && majorVersion() >= FIRST_WITHOUT_CALLBACKS) {
    throw new errors.RuntimeFailure('CallbackHandlerDeprecated', NO_CALLBACKS);
  }
  const once = isStreaming ? () => serveStreaming(handler, highWaterMark) : () => serve(handler);
  schedule = () => setImmediate(() => once().catch(lost));
  schedule();
}

async function start() {
  if (headStart.isEarly()) {
    await api.connect();
    headStart.wait();
  }
  await new Promise(setImmediate); // from here on the stacks of errors are the same, started early or not
  await main();
}

start().catch((error) => {
  logs.logError('Uncaught Exception', error);
  tell(error).finally(() => process.exit(129));
});
