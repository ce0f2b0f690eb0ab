'use strict';
// A client of the Lambda Runtime API (2018-06-01) on one raw socket: node:http would double the time of a start.
// One request at a time, as the protocol wants it. While a handler runs the socket does not keep the event loop
// alive, so that an empty loop can be told from a busy one.

const net = require('node:net');
const { document, cause } = require('./errors.cjs');

const BASE = '/2018-06-01/runtime';
const HEAD_END = Buffer.from('\r\n\r\n');
const oneLine = (text) => String(text).replace(/[^\x20-\x7e]/g, ' ');

class RuntimeApi {
  constructor(address) {
    const colon = address.lastIndexOf(':');
    this.host = address.slice(0, colon);
    this.port = Number(address.slice(colon + 1));
    this.address = address;
    this.received = [];
    this.socket = null;
    this.waiting = null; // { resolve, reject } of the request under way
  }

  /** The next invocation: its headers, with names in lower case, and its event. Waits for as long as it takes. */
  async next() {
    return this.request('GET', `${BASE}/invocation/next`);
  }

  /** The handler's answer, as JSON text. */
  async respond(id, text) {
    return this.post(`${BASE}/invocation/${encodeURIComponent(id)}/response`, text);
  }

  /** The invocation failed. */
  async fail(id, error) {
    const body = document(error);
    const headers = { 'Lambda-Runtime-Function-Error-Type': oneLine(body.errorType) };
    const xray = cause(error);
    if (xray && xray.length < 1_000_000) headers['Lambda-Runtime-Function-XRay-Error-Cause'] = oneLine(xray);
    return this.post(`${BASE}/invocation/${encodeURIComponent(id)}/error`, JSON.stringify(body), headers);
  }

  /** The function could not be loaded. */
  async failInit(error) {
    const body = document(error);
    const headers = { 'Lambda-Runtime-Function-Error-Type': oneLine(body.errorType) };
    return this.post(`${BASE}/init/error`, JSON.stringify(body), headers);
  }

  /** Opens a streamed response: { write(bytes, done), end(error, done) }; `end` gives the error in trailers. */
  stream(id, contentType) {
    const socket = this.connected();
    socket.write(
      this.head('POST', `${BASE}/invocation/${encodeURIComponent(id)}/response`, {
        'Content-Type': contentType,
        'Lambda-Runtime-Function-Response-Mode': 'streaming',
        'Transfer-Encoding': 'chunked',
        Trailer: 'Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body',
      }),
    );
    const answered = this.answered();
    return {
      write(bytes, done) {
        socket.write(`${bytes.length.toString(16)}\r\n`);
        socket.write(bytes);
        socket.write('\r\n', done);
      },
      end(error, done) {
        socket.write(`0\r\n${error === undefined ? '' : trailers(error)}\r\n`);
        answered.then(() => done(), done);
      },
    };
  }

  async post(path, text, headers = {}) {
    const body = Buffer.from(text);
    return this.request('POST', path, { 'Content-Type': 'application/json', ...headers }, body);
  }

  request(method, path, headers = {}, body = Buffer.alloc(0)) {
    const socket = this.connected();
    if (method === 'POST') headers = { ...headers, 'Content-Length': body.length };
    const head = this.head(method, path, headers);
    // Small bodies go out in one write, hence in one packet.
    if (body.length < 65_536) socket.write(Buffer.concat([head, body]));
    else {
      socket.write(head);
      socket.write(body);
    }
    return this.answered();
  }

  head(method, path, headers) {
    const lines = Object.entries({ Host: this.address, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
    return Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`);
  }

  answered() {
    this.socket.ref();
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
    });
  }

  /** Connects before there is anything to ask. */
  async connect() {
    await new Promise((resolve, reject) => {
      this.connected().once('connect', resolve).once('error', reject);
    });
    this.socket.unref();
  }

  connected() {
    if (this.socket === null) {
      const socket = net.connect({ host: this.host, port: this.port, noDelay: true });
      socket.on('data', (bytes) => this.receive(bytes));
      socket.on('error', (error) => this.lost(error));
      socket.on('close', () => this.lost(new Error('The Runtime API closed the connection.')));
      this.socket = socket;
    }
    return this.socket;
  }

  lost(error) {
    this.socket = null;
    this.received = [];
    const { waiting } = this;
    this.waiting = null;
    waiting?.reject(error);
  }

  receive(bytes) {
    this.received.push(bytes);
    // The length of a large event is known from its head: join the pieces once, at the end.
    this.missing = Math.max(0, (this.missing ?? 0) - bytes.length);
    if (this.missing > 0) return;
    const data = this.received.length === 1 ? bytes : Buffer.concat(this.received);
    this.received = [data];
    const end = data.indexOf(HEAD_END);
    if (end < 0) return;
    const [first, ...lines] = data.toString('latin1', 0, end).split('\r\n');
    const headers = Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    );
    const length = Number(headers['content-length'] ?? 0);
    const from = end + HEAD_END.length;
    if (data.length < from + length) {
      this.missing = from + length - data.length;
      return;
    }
    const status = Number(first.split(' ')[1]);
    this.received = data.length > from + length ? [data.subarray(from + length)] : [];
    if (status >= 100 && status < 200) return;
    this.socket.unref();
    const { waiting } = this;
    this.waiting = null;
    waiting?.resolve({ status, headers, body: data.subarray(from, from + length) });
  }
}

function trailers(error) {
  const body = document(error);
  const encoded = Buffer.from(JSON.stringify(body)).toString('base64');
  return (
    `Lambda-Runtime-Function-Error-Type: ${oneLine(body.errorType)}\r\n` +
    `Lambda-Runtime-Function-Error-Body: ${encoded}\r\n`
  );
}

module.exports = { RuntimeApi };
