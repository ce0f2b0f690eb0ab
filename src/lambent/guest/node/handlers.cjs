'use strict';
// From the handler's name to the function: CommonJS, ES modules, and TypeScript where Node strips types.
// Source: AWS Lambda Developer Guide, "Define Lambda function handler in Node.js"; behaviour of AWS's own runtime.

const fs = require('node:fs');
const path = require('node:path');
const { createRequire } = require('node:module');
const { pathToFileURL } = require('node:url');
const { RuntimeFailure } = require('./errors.cjs');
const nodePath = require('./node_path.cjs');

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');

/** The handler that `name` (folder/file.export) stands for, below `root`. */
async function load(root, name) {
  if (name.includes('..')) {
    throw new RuntimeFailure(
      'MalformedHandlerName',
      `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const base = path.basename(name);
  const folder = name.substring(0, name.indexOf(base));
  const dot = base.indexOf('.');
  if (dot < 0) throw new RuntimeFailure('MalformedHandlerName', 'Bad handler');
  const module = await imported(root, folder, base.slice(0, dot));
  const handler = base
    .slice(dot + 1)
    .split('.')
    .reduce((inner, key) => inner && inner[key], module);
  if (!handler) throw new RuntimeFailure('HandlerNotFound', `${name} is undefined or not exported`);
  if (typeof handler !== 'function') throw new RuntimeFailure('HandlerNotFound', `${name} is not a function`);
  return handler;
}

async function imported(root, folder, name) {
  try {
    return await found(root, folder, name);
  } catch (error) {
    adviseOnSdk(error);
    if (error instanceof SyntaxError) throw new RuntimeFailure('UserCodeSyntaxError', String(error));
    if (error?.code === 'MODULE_NOT_FOUND') throw new RuntimeFailure('ImportModuleError', String(error));
    throw error;
  }
}

async function found(root, folder, name) {
  const file = path.resolve(root, folder, name);
  const requireFrom = createRequire(path.join(root, 'index.js'));
  const isFile = (suffix) => fs.existsSync(file + suffix);
  if (isFile('')) return requireFrom(file);
  if (isFile('.js')) return isModule(path.dirname(file)) ? imports(`${file}.js`) : requireFrom(`${file}.js`);
  if (isFile('.mjs')) return imports(`${file}.mjs`);
  if (isFile('.cjs')) return requireFrom(`${file}.cjs`);
  for (const suffix of ['.ts', '.mts', '.cts']) {
    if (isFile(suffix)) return imports(file + suffix); // Node says what it cannot do with types
  }
  return requireFrom(requireFrom.resolve(name, { paths: [root, path.resolve(root, folder)] }));
}

async function imports(file) {
  const url = pathToFileURL(file).href; // a path may have a # in it
  nodePath.search();
  try {
    return await import(url);
  } catch (error) {
    if (error?.code !== 'ERR_MODULE_NOT_FOUND' || !nodePath.searchOnThread()) throw error;
    return import(`${url}?again`); // the first try is remembered
  }
}

/** AWS's machines have the AWS SDK for JavaScript. On this one it has to be installed, once for all functions. */
function adviseOnSdk(error) {
  const missing = /(?:MODULE_NOT_FOUND)$/.test(error?.code ?? '') && /'(@(?:aws-sdk|smithy)\/[\w-]+)/.exec(error.message);
  if (missing) error.message += `\n\`lambent runtime install ${missing[1]}\` installs it for all functions on this machine.`;
}

/** Whether the nearest package.json says that .js files are ES modules. */
function isModule(folder) {
  for (let at = folder; !at.endsWith('/node_modules'); at = path.dirname(at)) {
    const file = path.join(at, 'package.json');
    if (fs.existsSync(file)) {
      try {
        return JSON.parse(fs.readFileSync(file, 'utf8'))?.type === 'module';
      } catch (error) {
        console.warn(`${file} cannot be read, it will be ignored for ES module detection purposes.`, error);
        return false;
      }
    }
    if (at === path.dirname(at)) return false;
  }
  return false;
}

/** How the handler wants to answer: { isStreaming, highWaterMark }. */
function kindOf(handler) {
  const wish = handler[STREAMING] ?? false;
  if (wish !== false && wish !== 'response') {
    throw new RuntimeFailure('MalformedStreamingHandler', 'Only response streaming is supported.');
  }
  const mark = parseInt(handler[HIGH_WATER_MARK], 10);
  return { isStreaming: wish === 'response', highWaterMark: Number.isNaN(mark) ? undefined : mark };
}

/** The global `awslambda`. */
function defineGlobal(HttpResponseStream) {
  if (['1', 'true'].includes(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) return;
  globalThis.awslambda = {
    ...globalThis.awslambda,
    streamifyResponse(handler, options) {
      handler[STREAMING] = 'response';
      if (typeof options?.highWaterMark === 'number') handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
      return handler;
    },
    HttpResponseStream,
  };
}

module.exports = { load, kindOf, defineGlobal };
