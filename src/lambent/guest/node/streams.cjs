'use strict';
// A response that the function writes piece by piece, and the metadata of an HTTP response before it.

const { Writable } = require('node:stream');
const { RuntimeFailure } = require('./errors.cjs');

const HTTP_RESPONSE = 'application/vnd.awslambda.http-integration-response';
const PRELUDE_END = Buffer.alloc(8);

class ResponseStream extends Writable {
  #api;
  #id;
  #sending = null;
  #contentType = 'application/octet-stream';

  constructor(api, id, highWaterMark) {
    super({ highWaterMark });
    this.#api = api;
    this.#id = id;
  }

  /** Before the first write only. */
  setContentType(contentType) {
    if (this.#sending !== null) {
      throw new RuntimeFailure('InvalidStreamingOperation', 'Cannot set content-type, too late.');
    }
    this.#contentType = contentType;
  }

  /** Text, bytes, or anything else as JSON. */
  write(chunk, ...more) {
    const isBytes = typeof chunk === 'string' || chunk instanceof Uint8Array;
    return super.write(isBytes ? chunk : JSON.stringify(chunk), ...more);
  }

  end(chunk, ...more) {
    if (chunk === undefined || chunk === null || typeof chunk === 'function') return super.end(chunk, ...more);
    this.write(chunk, typeof more[0] === 'string' ? more[0] : undefined);
    return super.end(...more.filter((one) => typeof one === 'function'));
  }

  /** Ends the stream with an error, in trailers. */
  failWith(error, done) {
    this.destroyed || this.#opened().end(error, done);
  }

  _write(chunk, encoding, done) {
    this.#opened().write(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk, done);
  }

  _final(done) {
    this.#opened().end(undefined, done);
  }

  #opened() {
    if (this.#sending === null) {
      this.#sending = this.#api.stream(this.#id, this.#contentType);
      const before = this._onBeforeFirstWrite;
      if (typeof before === 'function') before((bytes) => this.#sending.write(Buffer.from(bytes)));
    }
    return this.#sending;
  }
}

class HttpResponseStream {
  /** The stream, with status code, headers and cookies before what is written to it. */
  static from(stream, prelude) {
    stream.setContentType(HTTP_RESPONSE);
    stream._onBeforeFirstWrite = (write) => {
      write(JSON.stringify(prelude));
      write(PRELUDE_END);
    };
    return stream;
  }
}

module.exports = { ResponseStream, HttpResponseStream };
