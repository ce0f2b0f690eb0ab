'use strict';
// ES modules find packages in the folders of NODE_PATH, as on AWS: those of layers, and the AWS SDK. Plain Node.js looks
// there only for `require`. What lies beside the function's own code comes first.
// Source: AWS Compute Blog, "Node.js 18.x runtime now available in AWS Lambda", ES module resolution using NODE_PATH.

const fs = require('node:fs');
const module_ = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');

let parents = []; // URLs from where the search goes on: in each lies a node_modules of NODE_PATH

const isMissing = (error) => error?.code === 'ERR_MODULE_NOT_FOUND';
const isPackage = (specifier) => /^(@[\w.~-]+\/)?[\w~-][\w.~-]*(\/|$)/.test(specifier);

const hasPackages = (folder) => fs.existsSync(folder) && fs.readdirSync(folder).some((name) => name !== 'README');

function found() {
  const folders = (process.env.NODE_PATH ?? '').split(path.delimiter);
  return folders
    .filter((folder) => path.basename(folder) === 'node_modules' && hasPackages(folder))
    .map((folder) => pathToFileURL(path.join(folder, '..', 'any.js')).href);
}

/** Makes every `import` look there, if there is anything. */
function search() {
  if (!module_.registerHooks || parents.length > 0) return;
  parents = found();
  if (parents.length > 0) module_.registerHooks({ resolve: resolveNow });
}

/** The same before Node.js 22.15, by a thread that costs time, so only for who needs it. Whether that is of any use. */
function searchOnThread() {
  const data = module_.registerHooks ? [] : found();
  if (data.length > 0) module_.register(pathToFileURL(__filename), { data });
  return data.length > 0;
}

function resolveNow(specifier, context, next) {
  try {
    return next(specifier, context);
  } catch (error) {
    if (!isMissing(error) || !isPackage(specifier)) throw error;
    for (const parentURL of parents) {
      try {
        return next(specifier, { ...context, parentURL });
      } catch (other) {
        if (!isMissing(other)) throw other;
      }
    }
    throw error;
  }
}

function initialize(urls) {
  parents = urls;
}

async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (!isMissing(error) || !isPackage(specifier)) throw error;
    for (const parentURL of parents) {
      try {
        return await next(specifier, { ...context, parentURL });
      } catch (other) {
        if (!isMissing(other)) throw other;
      }
    }
    throw error;
  }
}

module.exports = { search, searchOnThread, initialize, resolve };
