<?php
// Real work through php-memcached against the server at HOST PORT, in MODE text or binary.
//
// Prints one line `ok TOPIC: what` for each thing that is as it should be, ends with 1 at the first
// that is not, and says `done` at the very end.
declare(strict_types=1);

const LARGE = 1024 * 1024 - 512;

function check(string $topic, string $what, mixed $got, mixed $wanted): void
{
    if ($got !== $wanted) {
        $short = fn (mixed $value): string => substr(var_export($value, true), 0, 200);
        echo "not ok $topic: $what: got {$short($got)}, wanted {$short($wanted)}\n";
        exit(1);
    }
    echo "ok $topic: $what\n";
}

function connect(string $host, int $port, bool $binary): Memcached
{
    $client = new Memcached();
    $client->setOption(Memcached::OPT_BINARY_PROTOCOL, $binary);
    $client->setOption(Memcached::OPT_COMPRESSION, false);
    $client->setOption(Memcached::OPT_TCP_NODELAY, true);
    $client->setOption(Memcached::OPT_RECV_TIMEOUT, 10_000_000);
    $client->setOption(Memcached::OPT_SEND_TIMEOUT, 10_000_000);
    $client->addServer($host, $port);
    return $client;
}

function basics(Memcached $client): void
{
    check('set', 'a value is stored', $client->set('a', '1'), true);
    check('get', 'it comes back', $client->get('a'), '1');
    check('get', 'a miss is false', $client->get('absent'), false);
    check('get', 'and told apart', $client->getResultCode(), Memcached::RES_NOTFOUND);
    check('set', 'add keeps what is there', $client->add('a', '2'), false);
    // A server says "not stored" in text and "exists" in binary.
    $codes = [Memcached::RES_NOTSTORED, Memcached::RES_DATA_EXISTS];
    check('set', 'and says so', in_array($client->getResultCode(), $codes, true), true);
    check('set', 'replace wants something there', $client->replace('absent', '2'), false);
    check('set', 'an empty value', $client->set('empty', ''), true);
    check('get', 'is not a miss', $client->get('empty'), '');
    $bytes = implode('', array_map('chr', range(0, 255)));
    check('set', 'any byte', $client->set('bytes', $bytes), true);
    check('get', 'survives', $client->get('bytes'), $bytes);
    check('get', 'delete says so', $client->delete('a'), true);
    check('get', 'only once', $client->delete('a'), false);
}

function types(Memcached $client): void
{
    $client->set('int', 42);
    $client->set('float', 2.5);
    $client->set('bool', true);
    $client->set('array', ['k' => [1, 2, 3]]);
    check('get', 'an integer, by its flags', $client->get('int'), 42);
    check('get', 'a float', $client->get('float'), 2.5);
    check('get', 'a boolean', $client->get('bool'), true);
    check('get', 'an array', $client->get('array'), ['k' => [1, 2, 3]]);
}

function multiGet(Memcached $client): void
{
    $values = [];
    for ($number = 0; $number < 500; $number++) {
        $values["many$number"] = "value $number";
    }
    check('multi-get', '500 are stored', $client->setMulti($values), true);
    $got = $client->getMulti(array_keys($values), Memcached::GET_PRESERVE_ORDER);
    check('multi-get', '500 come back', $got, $values);
    $mixed = $client->getMulti(['many1', 'absent', 'many2']);
    check('multi-get', 'misses are left out', $mixed, ['many1' => 'value 1', 'many2' => 'value 2']);
    check('multi-get', 'deferred', $client->getDelayed(['many3', 'many4'], true), true);
    check('multi-get', 'and fetched', count($client->fetchAll()), 2);
    $deleted = $client->deleteMulti(['many1', 'absent']);
    check('multi-get', 'deleted', $deleted['many1'], true);
    check('multi-get', 'absent told apart', $deleted['absent'], Memcached::RES_NOTFOUND);
}

function cas(Memcached $client): void
{
    $client->set('cas', 'old');
    $got = $client->get('cas', null, Memcached::GET_EXTENDED);
    check('cas', 'the value comes with a number', $got['value'], 'old');
    check('cas', 'unchanged: stored', $client->cas($got['cas'], 'cas', 'new'), true);
    check('cas', 'changed: refused', $client->cas($got['cas'], 'cas', 'late'), false);
    check('cas', 'and says so', $client->getResultCode(), Memcached::RES_DATA_EXISTS);
    check('cas', "the winner's value stays", $client->get('cas'), 'new');
}

function arithmetic(Memcached $client, bool $binary): void
{
    $client->set('n', '10');
    check('incr', 'adds', $client->increment('n', 5), 15);
    check('incr', 'subtracts', $client->decrement('n', 7), 8);
    check('incr', 'stops at zero', $client->decrement('n', 100), 0);
    if ($binary) {
        check('incr', 'creates with an initial value', $client->increment('fresh', 1, 7, 60), 7);
        check('incr', 'and adds to it', $client->increment('fresh', 1), 8);
    } else {
        check('incr', 'a miss is false', $client->increment('fresh', 1), false);
    }
}

function append(Memcached $client): void
{
    $client->set('p', 'b');
    check('append', 'at the end', $client->append('p', 'c'), true);
    check('append', 'at the start', $client->prepend('p', 'a'), true);
    check('append', 'both are there', $client->get('p'), 'abc');
    check('append', 'absent: not stored', $client->append('absent', 'x'), false);
}

function times(Memcached $client): void
{
    $client->set('short', 'x', 3);
    $client->set('absolute', 'x', time() + 3);
    $client->set('kept', 'x', 3);
    $client->set('touched', 'x');
    check('expiry', 'alive before its time', $client->get('short'), 'x');
    check('touch', 'a shorter life', $client->touch('touched', 3), true);
    check('touch', 'a longer life', $client->touch('kept', 1000), true);
    check('touch', 'absent: told', $client->touch('absent', 3), false);
    sleep(5);
    check('expiry', 'dead after its time', $client->get('short'), false);
    check('expiry', 'an absolute time too', $client->get('absolute'), false);
    check('touch', 'the touched one died', $client->get('touched'), false);
    check('touch', 'the prolonged one lives', $client->get('kept'), 'x');
}

function large(Memcached $client): void
{
    $value = str_repeat('0123456789abcdef', intdiv(LARGE, 16));
    check('large', 'just under 1 MiB', $client->set('large', $value), true);
    check('large', 'comes back whole', $client->get('large') === $value, true);
    check('large', '2 MiB are refused', $client->set('large', str_repeat('x', 2 << 20)), false);
    check('large', 'and the connection goes on', $client->set('after', 'x'), true);
    check('large', 'in step', $client->get('after'), 'x');
}

function utf8(Memcached $client, bool $binary): void
{
    // In text the library itself refuses keys beyond ASCII.
    $key = $binary ? "\u{9375}\u{30ad}\u{30fc}\u{e9}" : 'ascii';
    $value = "\u{95c2}\u{3092}\u{9589}\u{3081}\u{308b} \u{1f510}";
    check('utf-8', 'a key and a value', $client->set($key, $value), true);
    check('utf-8', 'come back as they were', $client->get($key), $value);
    check('utf-8', 'among many', $client->getMulti([$key]), [$key => $value]);
}

[, $host, $port, $mode] = $argv;
$binary = $mode === 'binary';
$client = connect($host, (int) $port, $binary);
basics($client);
types($client);
multiGet($client);
cas($client);
arithmetic($client, $binary);
append($client);
times($client);
large($client);
utf8($client, $binary);
check('get', 'stats are read', $client->getStats()["$host:$port"]['curr_connections'] >= 1, true);
check('get', 'the version too', count($client->getVersion()), 1);
check('set', 'flush', $client->flush(), true);
check('get', 'has flushed', $client->get('kept'), false);
$client->quit();
echo "done\n";
