// gRPC's interoperability cases by Node's client, @grpc/grpc-js: messages are written by hand, so no .proto is needed.
//
//     node grpc.js HOST:PORT      one line for each case; exits 1 where one has failed
const grpc = require('@grpc/grpc-js');
const assert = require('assert');

const raw = (bytes) => bytes;
const SERVICE = '/grpc.testing.TestService/';

function varint(number) {
  const bytes = [];
  for (; number > 127; number = Math.floor(number / 128)) bytes.push((number % 128) | 128);
  return Buffer.from([...bytes, number]);
}
const number = (field, value) => Buffer.concat([varint(field * 8), varint(value)]);
const bytes = (field, value) => Buffer.concat([varint(field * 8 + 2), varint(value.length), value]);
const payload = (field, size) => bytes(field, bytes(2, Buffer.alloc(size)));
const wanted = (size) => bytes(2, number(1, size));

function read(message) { // {field: value} of the last ones
  const fields = {};
  let at = 0;
  const next = () => { let value = 0, scale = 1, one; do { one = message[at++]; value += (one & 127) * scale; scale *= 128; } while (one & 128); return value; };
  while (at < message.length) {
    const key = next(), value = next();
    fields[key >> 3] = value;
    if ((key & 7) === 2) { fields[key >> 3] = message.subarray(at, at + value); at += value; }
  }
  return fields;
}
const bodySize = (answer) => { const part = read(answer)[1]; return part ? (read(part)[2] || []).length : 0; };

const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure());
const options = () => ({ deadline: Date.now() + 20000 });
const unary = (method, message, metadata = new grpc.Metadata(), how = options(), watch = () => {}) => new Promise((resolve, reject) => watch(
  client.makeUnaryRequest(method, raw, raw, message, metadata, how, (error, answer) => (error ? reject(error) : resolve(answer)))));
const failure = async (promise, code) => { try { await promise; } catch (error) { assert.strictEqual(error.code, code); return error; } throw new Error('no failure'); };
const all = (call) => new Promise((resolve, reject) => { const seen = []; call.on('data', (one) => seen.push(bodySize(one))).on('end', () => resolve(seen)).on('error', reject); });
const SIZES = [31415, 9, 2653, 58979];

const cases = {
  async empty_unary() { assert.strictEqual((await unary(SERVICE + 'EmptyCall', Buffer.alloc(0))).length, 0); },
  async large_unary() { assert.strictEqual(bodySize(await unary(SERVICE + 'UnaryCall', Buffer.concat([number(2, 314159), payload(3, 271828)]))), 314159); },
  async server_streaming() {
    const call = client.makeServerStreamRequest(SERVICE + 'StreamingOutputCall', raw, raw, Buffer.concat(SIZES.map(wanted)), new grpc.Metadata(), options());
    assert.deepStrictEqual(await all(call), SIZES);
  },
  client_streaming: () => new Promise((resolve, reject) => {
    const call = client.makeClientStreamRequest(SERVICE + 'StreamingInputCall', raw, raw, new grpc.Metadata(), options(), (error, answer) => {
      if (error) reject(error); else if (read(answer)[1] !== 74922) reject(new Error(`sum ${read(answer)[1]}`)); else resolve();
    });
    for (const size of [27182, 8, 1828, 45904]) call.write(payload(1, size));
    call.end();
  }),
  async ping_pong() {
    const call = client.makeBidiStreamRequest(SERVICE + 'FullDuplexCall', raw, raw, new grpc.Metadata(), options());
    let turn = 0;
    const ask = () => (turn < SIZES.length ? call.write(Buffer.concat([wanted(SIZES[turn]), payload(3, 8)])) : call.end());
    const done = all(call);
    call.on('data', () => { turn++; ask(); });
    ask();
    assert.deepStrictEqual(await done, SIZES);
  },
  async cancel_after_first_response() {
    const call = client.makeBidiStreamRequest(SERVICE + 'FullDuplexCall', raw, raw, new grpc.Metadata(), options());
    call.on('data', () => call.cancel());
    call.write(wanted(31415));
    await failure(all(call), grpc.status.CANCELLED);
  },
  async timeout_on_sleeping_server() {
    const call = client.makeBidiStreamRequest(SERVICE + 'FullDuplexCall', raw, raw, new grpc.Metadata(), { deadline: Date.now() + 50 });
    call.write(bytes(2, Buffer.concat([number(1, 1), number(2, 5000000)])));
    await failure(all(call), grpc.status.DEADLINE_EXCEEDED);
  },
  async status_code_and_message() {
    const message = 'text with \u{1f600}, tab\tand per%cent';
    const status = bytes(7, Buffer.concat([number(1, 2), bytes(2, Buffer.from(message))]));
    assert.strictEqual((await failure(unary(SERVICE + 'UnaryCall', status), grpc.status.UNKNOWN)).details, message);
  },
  async custom_metadata() {
    const metadata = new grpc.Metadata();
    metadata.set('x-grpc-test-echo-initial', 'first');
    metadata.set('x-grpc-test-echo-trailing-bin', Buffer.from([0xab, 0xab, 0xab]));
    const seen = {};
    await unary(SERVICE + 'UnaryCall', number(2, 1), metadata, options(), (call) => call.on('metadata', (one) => { seen.first = one; })
      .on('status', (one) => { seen.last = one.metadata; }));
    assert.deepStrictEqual(seen.first.get('x-grpc-test-echo-initial'), ['first']);
    assert.deepStrictEqual([...seen.last.get('x-grpc-test-echo-trailing-bin')[0]], [0xab, 0xab, 0xab]);
  },
  unimplemented_method: () => failure(unary(SERVICE + 'UnimplementedCall', Buffer.alloc(0)), grpc.status.UNIMPLEMENTED),
  unimplemented_service: () => failure(unary('/grpc.testing.UnimplementedService/UnimplementedCall', Buffer.alloc(0)), grpc.status.UNIMPLEMENTED),
};

(async () => {
  let failed = 0;
  for (const [name, run] of Object.entries(cases)) {
    try { await run(); console.log(`${name}: ok`); } catch (error) { failed++; console.log(`${name}: ${error.message}`); }
  }
  client.close();
  process.exit(failed > 0 ? 1 : 0);
})();
