// Real work through memjs (binary protocol) against the server at HOST PORT.
//
// Prints one line `ok TOPIC: what` for each thing that is as it should be, ends with 1 at the first
// that is not, and says `done` at the very end. memjs has no call for CAS and none for many keys:
// the first is a request of its own framing with the CAS field filled in, the second are pipelined.
'use strict';

const { isDeepStrictEqual } = require('node:util');
const { setTimeout: sleep } = require('node:timers/promises');
const memjs = require('memjs');

const LARGE = 1024 * 1024 - 512;
const quiet = { log() {} };

function check(topic, what, got, wanted) {
  if (!isDeepStrictEqual(got, wanted)) {
    const short = (value) => String(value).slice(0, 200);
    console.log(`not ok ${topic}: ${what}: got ${short(got)}, wanted ${short(wanted)}`);
    process.exit(1);
  }
  console.log(`ok ${topic}: ${what}`);
}

async function text(client, key) {
  const { value } = await client.get(key);
  return value === null ? null : value.toString();
}

async function basics(client) {
  check('set', 'a value is stored', await client.set('a', '1'), true);
  check('get', 'it comes back', await text(client, 'a'), '1');
  check('get', 'a miss is null', await text(client, 'absent'), null);
  check('set', 'add keeps what is there', await client.add('a', '2'), false);
  check('set', 'replace wants something there', await client.replace('absent', '2'), false);
  check('set', 'replace replaces', await client.replace('a', '3'), true);
  check('get', 'the new value', await text(client, 'a'), '3');
  check('set', 'an empty value', await client.set('empty', ''), true);
  check('get', 'is not a miss', await text(client, 'empty'), '');
  const bytes = Buffer.from(Array.from({ length: 1024 }, (_, at) => at % 256));
  await client.set('bytes', bytes);
  check('get', 'any byte survives', (await client.get('bytes')).value.equals(bytes), true);
  check('get', 'delete says so', await client.delete('a'), true);
  check('get', 'only once', await client.delete('a'), false);
}

async function multiGet(client) {
  const keys = Array.from({ length: 200 }, (_, at) => `many${at}`);
  const stored = await Promise.all(keys.map((key) => client.set(key, `value of ${key}`)));
  check('multi-get', '200 stored in one pipeline', stored.every(Boolean), true);
  const values = await Promise.all(keys.map((key) => text(client, key)));
  const wanted = keys.map((key) => `value of ${key}`);
  check('multi-get', '200 answered, each with its own', values, wanted);
  const mixed = await Promise.all(['many1', 'absent', 'many2'].map((key) => text(client, key)));
  check('multi-get', 'misses between hits', mixed, ['value of many1', null, 'value of many2']);
}

// One request in memjs's own framing, with a CAS condition; resolves to the answer.
function perform(client, opcode, key, extras, value, cas) {
  client.incrSeq();
  const request = memjs.Utils.makeRequestBuffer(opcode, key, extras, value, client.seq);
  if (cas) cas.copy(request, 16);
  return new Promise((resolve, reject) => {
    client.perform(key, request, client.seq, (error, answer) => {
      if (error) reject(error);
      else resolve(answer);
    });
  });
}

async function cas(client) {
  await client.set('cas', 'old');
  const before = await perform(client, 0x00, 'cas', '', '', null);
  const unique = Buffer.from(before.header.cas);
  check('cas', 'a value has a number', unique.equals(Buffer.alloc(8)), false);
  const won = await perform(client, 0x01, 'cas', Buffer.alloc(8), 'new', unique);
  check('cas', 'unchanged: stored', won.header.status, 0);
  check('cas', 'with a new number', won.header.cas.equals(unique), false);
  const late = await perform(client, 0x01, 'cas', Buffer.alloc(8), 'late', unique);
  check('cas', 'changed: key exists', late.header.status, 2);
  const absent = await perform(client, 0x01, 'absent', Buffer.alloc(8), 'x', unique);
  check('cas', 'absent: key not found', absent.header.status, 1);
  check('cas', "the winner's value stays", await text(client, 'cas'), 'new');
}

async function arithmetic(client) {
  const made = await client.increment('n', 5, { initial: 10 });
  check('incr', 'creates with the initial value', made.value, 10);
  check('incr', 'adds', (await client.increment('n', 5, {})).value, 15);
  check('incr', 'subtracts', (await client.decrement('n', 7, {})).value, 8);
  check('incr', 'stops at zero', (await client.decrement('n', 100, {})).value, 0);
  await client.set('word', 'abc');
  const refused = await client.increment('word', 1, {}).then(() => 'counted', () => 'refused');
  check('incr', 'only numbers', refused, 'refused');
}

async function append(client) {
  await client.set('p', 'b');
  check('append', 'at the end', await client.append('p', 'c'), true);
  // The library's own call for this one sends the opcode of append.
  const prepended = await perform(client, 0x0f, 'p', '', 'a', null);
  check('append', 'at the start', prepended.header.status, 0);
  check('append', 'both are there', await text(client, 'p'), 'abc');
  const appending = client.append('absent', 'x');
  const absent = await appending.then(() => 'stored', (error) => error.message);
  check('append', 'absent: not stored', absent, 'MemJS APPEND: Item not stored');
}

async function times(client) {
  await client.set('short', 'x', { expires: 3 });
  await client.set('kept', 'x', { expires: 3 });
  await client.set('absolute', 'x', { expires: Math.floor(Date.now() / 1000) + 3 });
  await client.set('touched', 'x');
  check('expiry', 'alive before its time', await text(client, 'short'), 'x');
  check('touch', 'a shorter life', await client.touch('touched', 3), true);
  check('touch', 'a longer life', await client.touch('kept', 1000), true);
  check('touch', 'absent: told', await client.touch('absent', 3), false);
  await sleep(5000);
  check('expiry', 'dead after its time', await text(client, 'short'), null);
  check('expiry', 'an absolute time too', await text(client, 'absolute'), null);
  check('touch', 'the touched one died', await text(client, 'touched'), null);
  check('touch', 'the prolonged one lives', await text(client, 'kept'), 'x');
}

async function large(client) {
  const value = Buffer.from(Array.from({ length: LARGE }, (_, at) => at % 251));
  check('large', 'just under 1 MiB', await client.set('large', value), true);
  check('large', 'comes back whole', (await client.get('large')).value.equals(value), true);
  const setting = client.set('large', Buffer.alloc(2 * 1024 * 1024));
  const huge = await setting.then(() => 'stored', () => 'refused');
  check('large', '2 MiB are refused', huge, 'refused');
  check('large', 'and the connection goes on', await client.set('after', 'x'), true);
}

async function utf8(client) {
  const key = '\u9375\u30ad\u30fc\u00e9';
  const value = '\u95c2\u3092\u9589\u3081\u308b \u{1f510}';
  check('utf-8', 'a key and a value', await client.set(key, value), true);
  check('utf-8', 'come back as they were', await text(client, key), value);
  check('utf-8', 'and can be deleted', await client.delete(key), true);
}

async function main() {
  const [host, port] = process.argv.slice(2);
  const client = memjs.Client.create(`${host}:${port}`, { timeout: 10, retries: 1, logger: quiet });
  for (const part of [basics, multiGet, cas, arithmetic, append, times, large, utf8]) {
    await part(client);
  }
  const statistics = await new Promise((resolve) => {
    client.stats((error, server, all) => resolve(all));
  });
  check('get', 'stats are read', Number(statistics.curr_connections) >= 1, true);
  check('set', 'flush', (await client.flush())[`${host}:${port}`], true);
  check('get', 'has flushed', await text(client, 'kept'), null);
  client.quit();
  console.log('done');
}

main().catch((error) => {
  console.log(`not ok: ${error.stack}`);
  process.exit(1);
});
