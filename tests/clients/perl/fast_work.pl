# Real work through Cache::Memcached::Fast against the server at HOST PORT.
#
# Prints one line `ok TOPIC: what` for each thing that is as it should be, ends with 1 at the first
# that is not, and says `done` at the very end.
use strict;
use warnings;
use utf8;

use Cache::Memcached::Fast;

$| = 1;
my $LARGE = 1024 * 1024 - 512;

sub check {
    my ($topic, $what, $got, $wanted) = @_;
    my $shown = sub { defined $_[0] ? substr($_[0], 0, 200) : 'undef' };
    my $same = defined $got && defined $wanted ? $got eq $wanted : defined $got eq defined $wanted;
    if (!$same) {
        print "not ok $topic: $what: got ", $shown->($got), ", wanted ", $shown->($wanted), "\n";
        exit 1;
    }
    print "ok $topic: $what\n";
}

# False and undefined are different answers: refused, and lost on the way.
sub truth { my ($value) = @_; return !defined $value ? 'lost' : $value ? 'yes' : 'no' }

my ($host, $port) = @ARGV;
my $client = Cache::Memcached::Fast->new({
    servers => ["$host:$port"],
    connect_timeout => 10,
    io_timeout => 10,
    utf8 => 1,
    max_size => 4 * 1024 * 1024,
});

check('set', 'a value is stored', truth($client->set('a', 1)), 'yes');
check('get', 'it comes back', $client->get('a'), 1);
check('get', 'a miss is undefined', $client->get('absent'), undef);
check('set', 'add keeps what is there', truth($client->add('a', 2)), 'no');
check('set', 'replace wants something there', truth($client->replace('absent', 2)), 'no');
check('set', 'an empty value', truth($client->set('empty', '')), 'yes');
check('get', 'is not a miss', $client->get('empty'), '');
my $bytes = join '', map { chr } 0 .. 127;
check('set', 'control characters', truth($client->set('bytes', $bytes)), 'yes');
check('get', 'survive', $client->get('bytes'), $bytes);
my $stored = $client->set('hash', { list => [1, 2, 3] });
check('set', 'a structure, with its flags', truth($stored), 'yes');
check('get', 'is rebuilt', join(',', @{ $client->get('hash')->{list} }), '1,2,3');
check('get', 'delete says so', truth($client->delete('a')), 'yes');
check('get', 'only once', truth($client->delete('a')), 'no');
$client->set('quiet', 'x');
$client->nowait_push;
check('get', 'in order after unanswered ones', $client->get('quiet'), 'x');

my @pairs = map { ["many$_", "value $_"] } 0 .. 499;
my @stored = $client->set_multi(@pairs);
check('multi-get', '500 are stored', scalar(grep { $_ } @stored), 500);
my $many = $client->get_multi(map { $_->[0] } @pairs);
check('multi-get', '500 come back', scalar(grep { $many->{ $_->[0] } eq $_->[1] } @pairs), 500);
my $mixed = $client->get_multi('many1', 'absent', 'many2');
check('multi-get', 'misses are left out', join(',', sort keys %$mixed), 'many1,many2');

$client->set('cas', 'old');
my $before = $client->gets('cas');
check('cas', 'gets brings the value', $before->[1], 'old');
check('cas', 'unchanged: stored', truth($client->cas('cas', $before->[0], 'new')), 'yes');
check('cas', 'changed: refused', truth($client->cas('cas', $before->[0], 'late')), 'no');
check('cas', "the winner's value stays", $client->get('cas'), 'new');
my $all = $client->gets_multi('cas', 'absent');
check('cas', 'gets of many', $all->{cas}[1], 'new');

$client->set('n', 10);
check('incr', 'adds', $client->incr('n', 5), 15);
check('incr', 'subtracts', $client->decr('n', 7), 8);
check('incr', 'zero is true', truth($client->decr('n', 100)), 'yes');
check('incr', 'and zero', $client->get('n') + 0, 0);
check('incr', 'a miss is told', truth($client->incr('absent', 1)), 'no');

$client->set('p', 'b');
check('append', 'at the end', truth($client->append('p', 'c')), 'yes');
check('append', 'at the start', truth($client->prepend('p', 'a')), 'yes');
check('append', 'both are there', $client->get('p'), 'abc');
check('append', 'absent: not stored', truth($client->append('absent', 'x')), 'no');

$client->set('short', 'x', 3);
$client->set('absolute', 'x', time + 3);
$client->set('kept', 'x', 3);
$client->set('touched', 'x');
$client->set('gat', 'x');
check('expiry', 'alive before its time', $client->get('short'), 'x');
check('touch', 'a shorter life', truth($client->touch('touched', 3)), 'yes');
check('touch', 'a longer life', truth($client->touch('kept', 1000)), 'yes');
check('touch', 'absent: told', truth($client->touch('absent', 3)), 'no');
check('touch', 'gat reads and sets', $client->gat(3, 'gat'), 'x');
sleep 5;
check('expiry', 'dead after its time', $client->get('short'), undef);
check('expiry', 'an absolute time too', $client->get('absolute'), undef);
check('touch', 'the touched one died', $client->get('touched'), undef);
check('touch', 'the one read by gat died', $client->get('gat'), undef);
check('touch', 'the prolonged one lives', $client->get('kept'), 'x');

my $large = substr('0123456789abcdef' x (1 + $LARGE / 16), 0, $LARGE);
check('large', 'just under 1 MiB', truth($client->set('large', $large)), 'yes');
check('large', 'comes back whole', truth($client->get('large') eq $large), 'yes');
check('large', '2 MiB are refused', truth($client->set('large', 'x' x (2 << 20))), 'lost');
check('large', 'and the next one is served', truth($client->set('after', 'x')), 'yes');
check('large', 'in step', $client->get('after'), 'x');

my $key = "\x{9375}\x{30ad}\x{30fc}\x{e9}";
my $value = "\x{95c2}\x{3092}\x{9589}\x{3081} \x{1f510}";
check('utf-8', 'a key and a value', truth($client->set($key, $value)), 'yes');
check('utf-8', 'come back as they were', truth($client->get($key) eq $value), 'yes');
check('utf-8', 'among many', truth($client->get_multi($key)->{$key} eq $value), 'yes');

my ($version) = values %{ $client->server_versions };
check('get', 'the version is read', truth($version =~ /^[0-9]+[.][0-9]+[.][0-9]+/), 'yes');
my ($flushed) = values %{ $client->flush_all };
check('set', 'flush_all', truth($flushed), 'yes');
check('get', 'has flushed', $client->get('kept'), undef);
$client->disconnect_all;
print "done\n";
